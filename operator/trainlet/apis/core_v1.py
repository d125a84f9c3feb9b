"""core/v1: pods as templates say them."""

from pydantic import Field

from trainlet.apis.model import Model, ObjectMeta, TemplateMeta

Quantity = str | int | float


class ObjectFieldSelector(Model):
    """`valueFrom.fieldRef`."""

    field_path: str


class EnvVarSource(Model):
    """`env[].valueFrom`; sources other than fields are kept unread."""

    field_ref: ObjectFieldSelector | None = None


class EnvVar(Model):
    """One environment variable."""

    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class ResourceRequirements(Model):
    """Requests and limits by resource name."""

    limits: dict[str, Quantity] = {}
    requests: dict[str, Quantity] = {}


class VolumeMount(Model):
    """Where a volume is seen in a container."""

    name: str
    mount_path: str
    read_only: bool = False


class HostPath(Model):
    """A path of the host as a volume; `type` says what must be there."""

    path: str
    type: str = ""


class KeyToPath(Model):
    """Which key of an object is which file of its volume; `mode` None is the volume's default."""

    key: str
    path: str
    mode: int | None = None


class ObjectSource(Model):
    """The data of a ConfigMap or a Secret as files; no `items` are all keys. A Secret is named by `secret_name`."""

    name: str = ""
    secret_name: str = ""
    items: list[KeyToPath] = []
    default_mode: int = 0o644
    optional: bool = False


class EmptyDir(Model):
    """A directory that lives as long as its pod."""

    medium: str = ""
    size_limit: Quantity | None = None


class ClaimSource(Model):
    """A claim as a volume."""

    claim_name: str
    read_only: bool = False


class TokenSource(Model):
    """A service account's token as a file."""

    path: str
    audience: str = ""


class ProjectedSource(Model):
    """One of the sources of a projected volume."""

    config_map: ObjectSource | None = None
    secret: ObjectSource | None = None
    service_account_token: TokenSource | None = None


class Projected(Model):
    """Several sources in one directory."""

    sources: list[ProjectedSource] = []
    default_mode: int = 0o644


class Volume(Model):
    """A volume of a pod; sources that are not here are kept unread."""

    name: str
    host_path: HostPath | None = None
    config_map: ObjectSource | None = None
    secret: ObjectSource | None = None
    empty_dir: EmptyDir | None = None
    persistent_volume_claim: ClaimSource | None = None
    projected: Projected | None = None


class ClaimTemplate(Model):
    """A claim that is made for a JobSet."""

    metadata: ObjectMeta = ObjectMeta()


class TcpSocket(Model):
    """A port that answers; a name is one of the container's ports."""

    port: int | str


class Probe(Model):
    """When a container is ready; only `tcpSocket` is read. Durations are seconds."""

    tcp_socket: TcpSocket | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10


class ContainerPort(Model):
    """A port of a container."""

    container_port: int
    name: str = ""


class Capabilities(Model):
    """Linux capabilities without `CAP_`, on top of the engine's own set or taken from it."""

    add: list[str] = []
    drop: list[str] = []


class SecurityContext(Model):
    """Whom a container runs as and what it may do; the ids are also a pod's, the groups are only a pod's."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    fs_group: int | None = None
    supplemental_groups: list[int] = []
    privileged: bool = False
    allow_privilege_escalation: bool = True
    read_only_root_filesystem: bool = False
    capabilities: Capabilities = Capabilities()


class Container(Model):
    """One container of a pod. `command` None keeps the image's entrypoint."""

    name: str
    image: str = ""
    image_pull_policy: str | None = None
    command: list[str] | None = None
    args: list[str] | None = None
    working_dir: str | None = None
    env: list[EnvVar] = []
    resources: ResourceRequirements = ResourceRequirements()
    volume_mounts: list[VolumeMount] = []
    security_context: SecurityContext = SecurityContext()
    readiness_probe: Probe | None = None
    ports: list[ContainerPort] = []


class PodSpec(Model):
    """A pod's spec. JobSet's webhook makes OnFailure the default of `restartPolicy`."""

    containers: list[Container] = []
    init_containers: list[Container] = []
    volumes: list[Volume] = []
    restart_policy: str = "OnFailure"
    termination_grace_period_seconds: int = Field(default=30)
    security_context: SecurityContext = SecurityContext()


class PodTemplate(Model):
    """A pod template."""

    metadata: TemplateMeta = TemplateMeta()
    spec: PodSpec = PodSpec()

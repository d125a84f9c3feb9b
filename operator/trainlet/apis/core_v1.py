"""core/v1: pods as templates say them."""

from pydantic import Field

from trainlet.apis.model import Model, ObjectMeta, TemplateMeta

Quantity = str | int | float


class ObjectFieldSelector(Model):
    """A field of the pod."""

    field_path: str


class ResourceFieldSelector(Model):
    """A limit or request of a container; no `container_name` is the one that asks. Rounded up to `divisor`s."""

    resource: str
    container_name: str = ""
    divisor: Quantity = "1"


class KeySelector(Model):
    """One key of a ConfigMap or Secret."""

    name: str = ""
    key: str
    optional: bool = False


class EnvVarSource(Model):
    """`env[].valueFrom`."""

    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvVar(Model):
    """One environment variable."""

    name: str
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvFrom(Model):
    """A ConfigMap or Secret, all keys of which are variables."""

    name: str = ""
    optional: bool = False


class EnvFromSource(Model):
    """`envFrom[]`; `prefix` is put before each key."""

    prefix: str = ""
    config_map_ref: EnvFrom | None = None
    secret_ref: EnvFrom | None = None


class ResourceRequirements(Model):
    """Requests and limits by resource name."""

    limits: dict[str, Quantity] = {}
    requests: dict[str, Quantity] = {}


class VolumeMount(Model):
    """Where a volume is seen in a container."""

    name: str
    mount_path: str
    read_only: bool = False
    sub_path: str = ""
    sub_path_expr: str = ""


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


class FieldFile(Model):
    """A field or a resource of the pod as a file; `mode` None is the volume's default."""

    path: str
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardApi(Model):
    """Fields and resources of the pod as files."""

    items: list[FieldFile] = []
    default_mode: int = 0o644


class ProjectedSource(Model):
    """One of the sources of a projected volume."""

    downward_api: DownwardApi | None = Field(default=None, alias="downwardAPI")
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
    downward_api: DownwardApi | None = Field(default=None, alias="downwardAPI")
    ephemeral: dict[str, object] | None = None


class ClaimTemplate(Model):
    """A claim that is made for a JobSet."""

    metadata: ObjectMeta = ObjectMeta()


class ExecAction(Model):
    """A command run in the container; no shell is around it."""

    command: list[str] = []


class HttpHeader(Model):
    """A header of a request."""

    name: str
    value: str = ""


class HttpGet(Model):
    """A request that is answered; a port's name is one of the container's, no `host` is its own address."""

    port: int | str
    path: str = ""
    host: str = ""
    scheme: str = "HTTP"
    http_headers: list[HttpHeader] = []


class TcpSocket(Model):
    """A port that answers; a name is one of the container's ports, no `host` is its own address."""

    port: int | str
    host: str = ""


class GrpcAction(Model):
    """A service that says it is well by the gRPC health protocol."""

    port: int
    service: str = ""


class SleepAction(Model):
    """A pause."""

    seconds: int


class Handler(Model):
    """How a container is asked, or what is done in it, one of these; `grpc` is a probe's and `sleep` a hook's."""

    exec: ExecAction | None = None
    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    grpc: GrpcAction | None = None
    sleep: SleepAction | None = None


class Probe(Handler):
    """How and how often a container is asked, and how many answers in a row count. Durations are seconds."""

    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class Lifecycle(Model):
    """What is done in a container right after its start, and before it is asked to end."""

    post_start: Handler | None = None
    pre_stop: Handler | None = None


class ContainerPort(Model):
    """A port of a container."""

    container_port: int
    name: str = ""


class SeccompProfile(Model):
    """Which system calls are filtered: `RuntimeDefault` is the engine's own choice, `Unconfined` is none."""

    type: str = "RuntimeDefault"


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
    seccomp_profile: SeccompProfile | None = None


class Container(Model):
    """One container of a pod. `command` None keeps the image's entrypoint."""

    name: str
    image: str = ""
    restart_policy: str | None = None
    image_pull_policy: str | None = None
    command: list[str] | None = None
    args: list[str] | None = None
    working_dir: str | None = None
    env: list[EnvVar] = []
    env_from: list[EnvFromSource] = []
    resources: ResourceRequirements = ResourceRequirements()
    volume_mounts: list[VolumeMount] = []
    security_context: SecurityContext = SecurityContext()
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    lifecycle: Lifecycle = Lifecycle()
    ports: list[ContainerPort] = []


class DnsOption(Model):
    """One option of a resolver."""

    name: str
    value: str | None = None


class DnsConfig(Model):
    """Name servers, search domains and options beside a node's own."""

    nameservers: list[str] = []
    searches: list[str] = []
    options: list[DnsOption] = []


class HostAlias(Model):
    """A line of /etc/hosts."""

    ip: str
    hostnames: list[str] = []


class PullSecret(Model):
    """The name of a Secret that holds logins of registries."""

    name: str = ""


class PodSpec(Model):
    """A pod's spec. JobSet's webhook makes OnFailure the default of `restartPolicy`."""

    containers: list[Container] = []
    init_containers: list[Container] = []
    volumes: list[Volume] = []
    image_pull_secrets: list[PullSecret] = []
    restart_policy: str = "OnFailure"
    termination_grace_period_seconds: int = Field(default=30)
    security_context: SecurityContext = SecurityContext()
    share_process_namespace: bool = False
    service_account_name: str = "default"
    host_aliases: list[HostAlias] = []
    dns_config: DnsConfig = DnsConfig()
    runtime_class_name: str = ""
    active_deadline_seconds: int | None = None


class PodTemplate(Model):
    """A pod template."""

    metadata: TemplateMeta = TemplateMeta()
    spec: PodSpec = PodSpec()

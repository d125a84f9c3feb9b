"""core/v1: pods as templates say them."""

from pydantic import Field

from trainlet.apis.model import Model, TemplateMeta

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


class Volume(Model):
    """A volume of a pod; sources other than a host path are kept unread."""

    name: str
    host_path: HostPath | None = None


class Capabilities(Model):
    """Linux capabilities without `CAP_`, on top of the engine's own set or taken from it."""

    add: list[str] = []
    drop: list[str] = []


class SecurityContext(Model):
    """Whom a container runs as and what it may do; only the first two are also a pod's."""

    run_as_user: int | None = None
    run_as_group: int | None = None
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

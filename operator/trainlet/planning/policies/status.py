"""The status server's part of a JobSet: where a training script reports how far it is, and by what right.

kubeflow/trainer plugins/trainjobstatus, behind the feature gate TrainJobStatus, which is off unless asked for.
"""

from dataclasses import dataclass

from trainlet.apis.trainer import API_VERSION, TrainJob
from trainlet.kube.meta import JSON
from trainlet.planning.policies.owned import build_config_map
from trainlet.planning.runtime import NODE_CONTAINER, Info, PodSet, add_environment, add_mounts, get_trainer_names

#: The port of upstream's server.
DEFAULT_PORT = 10443
CONFIG_SUFFIX = "-tls-config"
TOKEN_SECONDS = 3600

#: Upstream's Service, in the namespace that its operator has by default.
_HOST = "kubeflow-trainer-controller-manager.kubeflow-system.svc"
HOST_NAMES = (_HOST, f"{_HOST}.cluster.local")
_VOLUME, _MOUNT_PATH = "kubeflow-trainer-token", "/var/run/secrets/kubeflow/trainer"
_CERTIFICATE, _TOKEN = "ca.crt", "token"


@dataclass(frozen=True)
class Features:
    """What of upstream's gated features is on. `status_port` None: no status server; the certificate is PEM."""

    status_port: int | None = None
    ca_certificate: str = ""


ALL_OFF = Features()


def apply(job: TrainJob, info: Info, features: Features) -> Info:
    """Tell all containers of the first trainer where the server is, with or without `spec.trainer`."""
    if features.status_port is None:
        return info
    environment = _build_environment(job, features.status_port)
    mount: JSON = {"name": _VOLUME, "mountPath": _MOUNT_PATH, "readOnly": True}

    def edit(container: JSON) -> JSON:
        kept = get_trainer_names(job) if container.get("name") == NODE_CONTAINER else frozenset()
        return add_mounts(add_environment(container, environment, kept), [mount])

    def inject(pod_set: PodSet) -> PodSet:
        return pod_set.with_every_container(edit).with_volumes([_build_volume(job)])

    return info.with_trainer(inject)


def build_objects(job: TrainJob, features: Features) -> list[JSON]:
    """Return the ConfigMap by which a script trusts the server."""
    if features.status_port is None:
        return []
    return [build_config_map(job, CONFIG_SUFFIX, {_CERTIFICATE: features.ca_certificate})]


def get_audience(job: TrainJob) -> str:
    """Return what a token must be made for: the one path that it opens."""
    return f"{API_VERSION}/namespaces/{job.metadata.namespace}/trainjobs/{job.metadata.name}/status"


def _build_environment(job: TrainJob, port: int) -> list[JSON]:
    return [
        {"name": "KUBEFLOW_TRAINER_SERVER_URL", "value": f"https://{_HOST}:{port}/apis/{get_audience(job)}"},
        {"name": "KUBEFLOW_TRAINER_SERVER_CA_CERT", "value": f"{_MOUNT_PATH}/{_CERTIFICATE}"},
        {"name": "KUBEFLOW_TRAINER_SERVER_TOKEN", "value": f"{_MOUNT_PATH}/{_TOKEN}"},
    ]


def _build_volume(job: TrainJob) -> JSON:
    token = {"audience": get_audience(job), "expirationSeconds": TOKEN_SECONDS, "path": _TOKEN}
    certificate = {
        "name": f"{job.metadata.name}{CONFIG_SUFFIX}",
        "items": [{"key": _CERTIFICATE, "path": _CERTIFICATE}],
    }
    return {"name": _VOLUME, "projected": {"sources": [{"serviceAccountToken": token}, {"configMap": certificate}]}}

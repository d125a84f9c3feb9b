"""The Flux policy: a Flux instance over the nodes, which runs the job's command (kubeflow/trainer plugins/flux)."""

from collections.abc import Sequence

from trainlet.apis.trainer import FluxPolicy, TrainJob
from trainlet.kube.errors import ApiError, FieldError
from trainlet.kube.meta import JSON
from trainlet.planning import secrets
from trainlet.planning.policies import plain
from trainlet.planning.policies.flux_scripts import Instance, write_entrypoint, write_installer
from trainlet.planning.policies.owned import build_config_map, build_secret
from trainlet.planning.policies.refusals import invalid
from trainlet.planning.runtime import (
    NODE_CONTAINER,
    TRAINER,
    WORKERS,
    Info,
    PodSet,
    add_mounts,
    count_gpus,
    get_node_resources,
)

#: The init container that the policy itself adds.
INSTALLER = "flux-installer"
SCRIPTS_SUFFIX, CURVE_SUFFIX = "-flux-entrypoint", "-flux-curve"
ENTRYPOINT_KEY, INSTALLER_KEY, CURVE_KEY = "entrypoint.sh", "init.sh", "curve.cert"
#: What environment of the node's container decides, and what it is without.
SETTINGS = {
    "FLUX_VIEW_IMAGE": "ghcr.io/converged-computing/flux-view-ubuntu:tag-jammy",
    "FLUX_NETWORK_DEVICE": "eth0",
    "FLUX_QUEUE_POLICY": "fcfs",
}
_SCRIPTS_DIR = "/etc/flux-config"
_VIEW: JSON = {"name": "flux-install", "mountPath": "/mnt/flux"}


def validate(job: TrainJob, info: Info) -> list[FieldError]:  # noqa: ARG001 - the shape of a policy's rules
    """Refuse a runtime, or a patch, that has the installer's name; upstream's path is of no field there is."""
    node = info.find_pod_set(WORKERS)
    names = [container.get("name") for container in node.init_containers] if node else []
    detail = "InitContainer 'flux-installer' is reserved"
    return [invalid("spec.trainer.initContainers", name, detail) for name in names if name == INSTALLER]


def apply(job: TrainJob, info: Info) -> Info:
    """Wrap the trainer's command in the script that starts Flux, and give the nodes what that needs.

    Raises ApiError for a job that does not say how many nodes it has.
    """
    _get_nodes(job)
    info = plain.apply(job, info)
    image = _read_settings(job, info)["FLUX_VIEW_IMAGE"]
    info = _wrap_command(job, info)
    return info.with_pod_sets(lambda p: _install(job, image, p) if p.name == WORKERS else p)


def build_objects(job: TrainJob, info: Info, secret: bytes) -> list[JSON]:  # noqa: ARG001 - as every policy's
    """Return the ConfigMap with the scripts, and the Secret by which the brokers know each other."""
    instance = _build_instance(job, info)
    scripts = {ENTRYPOINT_KEY: write_entrypoint(instance), INSTALLER_KEY: write_installer(instance)}
    return [
        build_config_map(job, SCRIPTS_SUFFIX, scripts),
        build_secret(job, CURVE_SUFFIX, {CURVE_KEY: _write_certificate(job).encode()}),
    ]


def _get_nodes(job: TrainJob) -> int:
    """Return the job's number of nodes; the runtime's does not do for it, which upstream does not survive."""
    nodes = job.spec.trainer.num_nodes if job.spec.trainer else None
    if nodes is not None:
        return nodes
    path, remedy = "spec.trainer.numNodes", "give the number of nodes, for example 1"
    what = "a runtime with the flux policy needs a job that says how many nodes it has"
    cause = FieldError(path, "Required value", what, stage="webhook")
    raise ApiError(what, where=path, remedy=remedy, causes=[cause])


def _build_instance(job: TrainJob, info: Info) -> Instance:
    trainer, settings = job.spec.trainer, _read_settings(job, info)
    own = trainer.num_proc_per_node if trainer else None
    return Instance(
        name=job.metadata.name,
        namespace=job.metadata.namespace,
        nodes=_get_nodes(job),
        tasks_per_node=FluxPolicy.of(info.ml_policy["flux"]).num_proc_per_node if own is None else own,
        gpus=count_gpus(get_node_resources(job, info)),
        network_device=settings["FLUX_NETWORK_DEVICE"],
        queue_policy=settings["FLUX_QUEUE_POLICY"],
    )


def _read_settings(job: TrainJob, info: Info) -> dict[str, str]:
    """Return the settings: plain values of the runtime's environment, and over them the job's."""
    node = _find_node(info.originals)
    given = [entry for entry in (node or {}).get("env") or [] if entry.get("value") is not None]
    given += job.spec.trainer.env if job.spec.trainer else []
    return {**SETTINGS, **{e["name"]: e.get("value") or "" for e in given if e["name"] in SETTINGS}}


def _find_node(pod_sets: Sequence[PodSet]) -> JSON | None:
    """Return the node container of the first trainer."""
    trainer = next((p for p in pod_sets if p.ancestor == TRAINER), None)
    return next((c for c in trainer.containers if c.get("name") == NODE_CONTAINER), None) if trainer else None


def _wrap_command(job: TrainJob, info: Info) -> Info:
    """Make the trainer's command an argument of the script; the runtime's own arguments stay where they are."""
    own = job.spec.trainer.args if job.spec.trainer else None
    words = [*((_find_node(info.pod_sets) or {}).get("command") or []), *(own or [])]
    command = ["/bin/bash", f"{_SCRIPTS_DIR}/{ENTRYPOINT_KEY}", " ".join(words).strip()]
    originals = {p.name: p for p in info.originals}

    def wrap(pod_set: PodSet) -> PodSet:
        if pod_set.ancestor != TRAINER:
            return pod_set
        args = (_find_node([originals[pod_set.name]]) or {}).get("args")
        kept = {} if args is None else {"args": args}
        return pod_set.with_container(
            NODE_CONTAINER, lambda c: {**{k: v for k, v in c.items() if k != "args"}, "command": command, **kept}
        )

    return info.with_pod_sets(wrap)


def _install(job: TrainJob, image: str, pod_set: PodSet) -> PodSet:
    scripts_name = f"{job.metadata.name}{SCRIPTS_SUFFIX}"
    scripts: JSON = {"name": scripts_name, "mountPath": _SCRIPTS_DIR, "readOnly": True}
    installer: JSON = {
        "name": INSTALLER,
        "image": image,
        "command": ["/bin/bash", f"{_SCRIPTS_DIR}/{INSTALLER_KEY}"],
        "volumeMounts": [_VIEW, scripts],
    }
    mounts: list[JSON] = [
        _VIEW,
        {"name": "spack-install", "mountPath": "/opt/software"},
        scripts,
        {"name": "flux-curve", "mountPath": "/curve", "readOnly": True},
        {"name": "shared-memory", "mountPath": "/dev/shm", "readOnly": True},
    ]
    volumes: list[JSON] = [
        {"name": "spack-install", "emptyDir": {}},
        {"name": "flux-install", "emptyDir": {}},
        {"name": scripts_name, "configMap": {"name": scripts_name, "defaultMode": 0o755}},
        {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
        {"name": "flux-curve", "secret": {"secretName": f"{job.metadata.name}{CURVE_SUFFIX}", "defaultMode": 0o400}},
    ]
    edited = pod_set.with_volumes(volumes).with_init_container(installer)
    return edited.with_container(NODE_CONTAINER, lambda container: add_mounts(container, mounts))


def _write_certificate(job: TrainJob) -> str:
    """Write the key pair in the form of czmq's certificates, whose indentation counts."""
    keys = secrets.derive_curve_keys(job.metadata.uid)
    return (
        f"#  The brokers of TrainJob {job.metadata.namespace}/{job.metadata.name} know each other by this.\n"
        "metadata\n"
        f'    name = "{job.metadata.name}"\n'
        "curve\n"
        f'    public-key = "{keys.public.decode()}"\n'
        f'    secret-key = "{keys.private.decode()}"\n'
    )

"""Every label key that is put on containers and networks, and the names they go by. Nothing else spells them."""

from trainlet.kube.digests import hash_text
from trainlet.kube.meta import ObjectKey

# What `docker ps --filter` users are told to look for.
JOB_NAME = "kubeflow.org/job-name"

# What the Kubeflow SDK's own container backend reads (kubeflow 0.5, trainer/backends/container/backend.py).
SDK_JOB_NAME = "trainer.kubeflow.org/trainjob-name"
SDK_STEP = "trainer.kubeflow.org/step"
SDK_NETWORK = "trainer.kubeflow.org/network-id"
SDK_RUNTIME = "trainer.kubeflow.org/runtime-name"

# Ours. A container or network is touched only if it carries OWNER_UID with the uid of the job in hand.
OWNER_UID = "trainlet.dev/owner-uid"
STORE = "trainlet.dev/store"
NAMESPACE = "trainlet.dev/namespace"
SPEC_HASH = "trainlet.dev/spec-hash"
ATTEMPT = "trainlet.dev/attempt"
# The engine's id of the network: one made again under the old name is not what a container was made for.
NETWORK = "trainlet.dev/network"
POD = "trainlet.dev/pod"
CONTAINER = "trainlet.dev/container"
# A container's name is a DNS label, so none of a manifest is called so.
SANDBOX = "POD"
# By which name people ask for the log of a container.
STEP = "trainlet.dev/step"
CLAIM = "trainlet.dev/claim"
# Which GPUs the containers of the pod have, so that a restarted operator gives them to nobody else.
DEVICES = "trainlet.dev/devices"

# Upstream's, on Job templates, pods and their containers.
ANCESTOR_STEP = "trainer.kubeflow.org/trainjob-ancestor-step"
JOBSET_NAME = "jobset.sigs.k8s.io/jobset-name"
REPLICATED_JOB = "jobset.sigs.k8s.io/replicatedjob-name"
RESTART_ATTEMPT = "jobset.sigs.k8s.io/restart-attempt"
COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
BATCH_JOB_NAME = "batch.kubernetes.io/job-name"


def prefix_of(job: ObjectKey) -> str:
    """Return what engine names of this job begin with; only `default` goes without its namespace."""
    return job.name if job.namespace == "default" else f"{job.namespace}.{job.name}"


def network_name(job: ObjectKey) -> str:
    """Return the name of the job's network."""
    return f"{prefix_of(job)}-net"


def claim_name(job: ObjectKey, claim: str) -> str:
    """Return the engine's name of a claim's volume; `claim` is the claim's name on a cluster."""
    return claim if job.namespace == "default" else f"{job.namespace}.{claim}"


def pod_volume_name(job: ObjectKey, pod: str, volume: str) -> str:
    """Return the engine's name of a volume that lives as long as its pod."""
    return f"{'' if job.namespace == 'default' else f'{job.namespace}.'}{pod}_{volume}"


def add_sub_path(name: str, sub_path: str) -> str:
    """Return the name of what stands for a path below a volume; no name of a cluster has an underscore."""
    return f"{name}_{hash_text(sub_path)[:10]}" if sub_path else name


def is_part(name: str, volume: str) -> bool:
    """Tell whether a name is a volume's or that of a path below it."""
    return name == volume or name.startswith(f"{volume}_")

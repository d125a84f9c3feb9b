"""The status of a PersistentVolumeClaim as it is shown; it is stored nowhere."""

from trainlet.kube.merge import find
from trainlet.kube.meta import JSON

PERSISTENT_VOLUME_CLAIM = "PersistentVolumeClaim"


def bind(claim: JSON) -> JSON:
    """Return a claim of the directory with its status: no pod ever waits for a volume of the engine."""
    spec: JSON = claim.get("spec") or {}
    size = find(spec, "resources", "requests", "storage")
    status = {"phase": "Bound", "accessModes": spec.get("accessModes") or [], "capacity": {"storage": size}}
    return {**claim, "status": status}

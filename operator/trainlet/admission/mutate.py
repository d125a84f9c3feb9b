"""What upstream's mutating webhook changes of a TrainJob: when each runtime patch was made.

kubeflow/trainer pkg/webhooks/trainjob_webhook.go. It is called before the schema is judged, so a document here may
have any shape; what has a wrong one is left as it is, for the schema to refuse.
"""

from collections.abc import Mapping
from datetime import datetime

from trainlet.kube.merge import find, put
from trainlet.kube.meta import JSON, format_time
from trainlet.planning.patches import is_same_patch

_PATCHES = ("spec", "runtimePatches")


def default_train_job(document: JSON, old: JSON | None, now: datetime) -> JSON:
    """Return the job with the times of its runtime patches; itself if there is nothing to set."""
    patches = find(document, *_PATCHES)
    if not isinstance(patches, list):
        return document
    before = {patch.get("manager"): patch for patch in find(old, *_PATCHES) or []}
    stamped = [_stamp(patch, before, format_time(now)) if isinstance(patch, dict) else patch for patch in patches]
    return document if stamped == patches else put(document, _PATCHES, stamped)


def _stamp(patch: JSON, before: Mapping[str, JSON], now: str) -> JSON:
    manager = patch.get("manager")
    known = before.get(manager) if isinstance(manager, str) else None
    if known is None:
        time = patch.get("time") or now
    elif is_same_patch(patch, known):
        time = known.get("time")
    else:
        time = now
    untimed = {key: value for key, value in patch.items() if key != "time"}
    return {**untimed, "time": time} if time else untimed

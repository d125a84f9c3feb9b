"""A watched directory with its status documents, as an operator would have left it, for tests of the command line."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from builders import UID, build_job
from trainlet.documents.status_dir import StatusDir
from trainlet.documents.write import dump_documents
from trainlet.kube.meta import JSON, format_time

FIVE_DAYS_AGO = format_time(datetime.now(UTC) - timedelta(days=5))


def build_condition(type: str, status: str = "True", reason: str = "", message: str = "") -> JSON:
    """Return a condition that has held for five days."""
    return {
        "type": type,
        "status": status,
        "reason": reason or type,
        "message": message,
        "lastTransitionTime": FIVE_DAYS_AGO,
    }


def build_node(rank: int, state: str = "running", **more: Any) -> JSON:
    """Return a node of a report."""
    return {
        "name": f"node-{rank}",
        "rank": rank,
        "container": f"mnist-node-{rank}",
        "state": state,
        "restarts": 0,
        "failures": "0 of 3",
        "address": f"10.213.0.{rank + 2}",
        **more,
    }


class Place:
    """One watched directory; `arguments` leads the command line to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.status = StatusDir(root / "status")
        self.arguments = ["--dir", str(root)]

    def write_manifest(self, text: str, name: str = "mnist.yaml") -> Path:
        """Write a file of the watched directory."""
        path = self.root / name
        path.write_text(text)
        return path

    def write_job(
        self,
        name: str = "mnist",
        namespace: str = "default",
        *,
        phase: str = "Running",
        conditions: list[JSON] | None = None,
        nodes: list[JSON] | None = None,
        labels: dict[str, str] | None = None,
        uid: str = UID,
        spec: JSON | None = None,
        is_admitted: bool = True,
        trainer_status: JSON | None = None,
        **report: Any,
    ) -> None:
        """Write a job's status document; other keywords go into the report's body."""
        job = build_job(name, namespace, uid, **(spec or {}))
        job["metadata"]["creationTimestamp"] = FIVE_DAYS_AGO
        if labels:
            job["metadata"]["labels"] = labels
        if conditions:
            job["status"] = {"conditions": conditions}
        if trainer_status:
            job["status"] = {**job.get("status", {}), "trainerStatus": trainer_status}
        body = {"phase": phase, "nodes": [build_node(0), build_node(1)] if nodes is None else nodes, **report}
        metadata = {"name": name, "namespace": namespace}
        wrapped = {
            "apiVersion": "trainlet.dev/v1alpha1",
            "kind": "TrainJobReport",
            "metadata": metadata,
            "status": body,
        }
        self.status.write_job(namespace, name, [job, wrapped] if is_admitted else [wrapped])

    def write_events(self, name: str, *events: tuple[str, str, str], namespace: str = "default") -> None:
        """Write a job's events: type, reason and message of each."""
        wires = [
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{name}.{number}", "namespace": namespace, "creationTimestamp": FIVE_DAYS_AGO},
                "involvedObject": {"kind": "TrainJob", "namespace": namespace, "name": name},
                "type": type,
                "reason": reason,
                "message": message,
                "count": 1,
                "firstTimestamp": FIVE_DAYS_AGO,
                "lastTimestamp": FIVE_DAYS_AGO,
            }
            for number, (type, reason, message) in enumerate(events)
        ]
        self.status.write_part(namespace, name, "events", wires)

    def write_log(
        self, step: str, text: str, name: str = "mnist", namespace: str = "default", *, previous: bool = False
    ) -> None:
        """Write a kept log."""
        path = self.status.log_path(namespace, name, step, previous=previous)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def write_yaml(*objects: JSON) -> str:
    """Return a YAML text of the objects."""
    return dump_documents(objects)

"""A watched directory with the write side of the API over it: no engine, no server, no thread of its own."""

import threading
from pathlib import Path
from typing import Any

import yaml

from builders import build_runtime
from trainlet.admission.admit import Rules
from trainlet.admission.core_kinds import CORE_KINDS
from trainlet.admission.crd import parse_crd
from trainlet.controller.file_source import FileSource
from trainlet.documents.status_dir import StatusDir
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON, ObjectKey
from trainlet.loading import now
from trainlet.package_data import read_crds
from trainlet.registry import Registry, Source
from trainlet.server.api.manifests import Manifests
from trainlet.server.api.resources import RESOURCES
from trainlet.server.api.types import DeleteOptions, PatchType, Resource, WriteOptions, Written
from trainlet.server.api.writes import DirectoryWriter
from trainlet.store import Store

RULES = Rules((*(parse_crd(document) for document in read_crds()), *CORE_KINDS))
KINDS = {each.kind: each for each in RESOURCES}
JOBS, RUNTIMES, MAPS = KINDS["TrainJob"], KINDS["ClusterTrainingRuntime"], KINDS["ConfigMap"]


class Desk:
    """What clients write to, and what becomes of it. A job that is deleted goes when `finish` says so."""

    def __init__(self, base: Path) -> None:
        self.root = base / "jobs"
        self.root.mkdir(exist_ok=True)
        self.status = StatusDir(self.root / "status")
        self.status.prepare()
        self.removed: list[str] = []
        self.open()

    def open(self, *, is_following: bool = False) -> None:
        """Begin as a new operator does, perhaps with the thread that follows the directory."""
        self.woken: list[ObjectKey] = []
        self.registry = Registry(Store(), self.status, RULES, now)
        self.registry.add_base_runtime(build_runtime(), Source("built-in", 0))
        self.registry.load({})
        self.files = FileSource(self.root, (self.status.root,), self.registry, self.status, self.woken.append)
        self.writer = DirectoryWriter(
            self.registry,
            Manifests(self.root, self.registry, "default"),
            self.files,
            self.woken.append,
            lambda pod: self.removed.append(pod["metadata"]["name"]),
            now,
        )
        begin = self.files.start if is_following else self.files.take_over
        begin()

    def finish(self) -> None:
        """Let go of every job that is to go, as its teardown does."""
        for key in self.registry.list_jobs():
            if find(self.registry.store.get(key), "metadata", "deletionTimestamp"):
                self.registry.forget(key)

    # Clients

    def create(self, body: JSON, **options: Any) -> Written:
        namespace = find(body, "metadata", "namespace") or "default"
        return self.writer.create(KINDS[body["kind"]], namespace, body, WriteOptions(**{"manager": "test", **options}))

    def update(self, body: JSON, **options: Any) -> Written:
        place = find(body, "metadata", "namespace") or "default", body["metadata"]["name"]
        return self.writer.update(KINDS[body["kind"]], *place, body, WriteOptions(**{"manager": "test", **options}))

    def patch(
        self,
        body: Any,
        name: str = "mnist",
        resource: Resource = JOBS,
        type: PatchType = PatchType.MERGE,
        **options: Any,
    ) -> Written:
        return self.writer.patch(resource, "default", name, type, body, WriteOptions(**{"manager": "test", **options}))

    def apply(self, body: JSON, manager: str = "kubectl", **options: Any) -> Written:
        resource, name = KINDS[body["kind"]], body["metadata"]["name"]
        return self.patch(body, name, resource, PatchType.APPLY, manager=manager, **options)

    def delete(self, name: str = "mnist", resource: Resource = JOBS, **options: Any) -> JSON:
        return self.writer.delete(resource, "default", name, DeleteOptions(**options))

    # What became of it

    def get(self, name: str = "mnist", resource: Resource = JOBS) -> JSON | None:
        return self.registry.store.get(resource.key("default", name))

    def version(self, name: str = "mnist", resource: Resource = JOBS) -> str:
        return str(find(self.get(name, resource), "metadata", "resourceVersion"))

    def texts(self) -> dict[str, str]:
        """Return what all manifests hold, by their names."""
        return {path.name: path.read_text() for path in sorted(self.root.glob("*.yaml"))}

    def read(self, name: str) -> Any:
        return yaml.safe_load((self.root / name).read_text())

    def write(self, name: str, text: str) -> Path:
        """Write a manifest as people do, and have it seen."""
        path = self.root / name
        path.write_text(text)
        self.files.scan()
        return path


def run_at_once(*calls: Any) -> list[BaseException | None]:
    """Call all at the same time; return what each raised."""
    raised: list[BaseException | None] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(number: int) -> None:
        barrier.wait()
        try:
            calls[number]()
        except Exception as error:  # told to the caller
            raised[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised

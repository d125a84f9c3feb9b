"""A directory of manifests as a user has them, and the command line called on it."""

import io
from pathlib import Path

import pytest
import yaml

from builders import build_runtime
from trainlet.cli.main import main
from trainlet.kube.meta import JSON


def build_manifest(name: str = "mnist", namespace: str | None = None, runtime: str = "own", **trainer: object) -> JSON:
    """Return a TrainJob as a user writes it; keywords are fields of its trainer."""
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    spec: JSON = {"runtimeRef": {"name": runtime}}
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": metadata,
        "spec": {**spec, "trainer": trainer} if trainer else spec,
    }


class Desk:
    """A watched directory `jobs` that holds the runtime `own`, a place `out` for files outside it, and the program."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs, self.out = root / "jobs", root / "out"
        self._capsys, self._monkeypatch = capsys, monkeypatch
        for directory in (self.jobs, self.out):
            directory.mkdir()
        self.stdout = self.stderr = ""
        self.write(self.jobs, "own.yaml", build_runtime("own"))
        monkeypatch.chdir(self.out)

    def write(self, directory: Path, name: str, *documents: JSON | str) -> Path:
        """Write a file of these documents, or of a text as it is."""
        path = directory / name
        texts = [each if isinstance(each, str) else yaml.safe_dump(each, sort_keys=False) for each in documents]
        path.write_text("---\n".join(texts), encoding="utf-8")
        return path

    def run(self, *words: str, stdin: str = "") -> int:
        """Call the program; what it printed is then in `stdout` and `stderr`."""
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        status = main(["--dir", str(self.jobs), *words])
        self.stdout, self.stderr = self._capsys.readouterr()
        return status

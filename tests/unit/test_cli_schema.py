"""`trainlet schema`: the files, where they lie, and how they refer to each other."""

import json
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from trainlet.cli.main import main
from trainlet.kube.meta import JSON
from trainlet.package_data import data_dir

GROUP = "trainer.kubeflow.org"
KINDS = ("clustertrainingruntime", "trainingruntime", "trainjob")
FILES = [*(f"{GROUP}/{kind}_v1alpha1.json" for kind in KINDS), "all.json", "catalog.json"]


def write(out: Path, *words: str) -> dict[str, JSON]:
    """Call the program and return what it wrote, by path."""
    assert main(["schema", "--out", str(out), *words]) == 0
    return {str(path.relative_to(out)): json.loads(path.read_bytes()) for path in out.rglob("*.json")}


def test_what_was_written_is_printed_one_line_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "not" / "there"
    assert sorted(write(out)) == sorted(FILES)
    assert capsys.readouterr().out == "".join(f"{out}/{name}\n" for name in FILES)


def test_writing_again_gives_the_same(tmp_path: Path) -> None:
    assert write(tmp_path) == write(tmp_path)


def test_the_schema_of_any_kind_finds_the_others_beside_it(tmp_path: Path) -> None:
    files = write(tmp_path)
    resources = [(f"file:///{name}", Resource(document, DRAFT7)) for name, document in files.items()]
    root: JSON = {"$ref": "file:///all.json"}
    validator = Draft7Validator(root, registry=Registry().with_resources(resources))
    manifests = [
        document
        for path in sorted(data_dir("manifests").rglob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text("utf-8"))
    ]
    assert {document["kind"] for document in manifests} == {"TrainJob", "ClusterTrainingRuntime"}
    for document in manifests:
        assert validator.is_valid(document)
        assert not validator.is_valid({**document, "spec": {**document["spec"], "typo": 1}})


@pytest.mark.parametrize(
    ("words", "prefix"),
    [
        ((), ""),
        (("--base-url", "https://a.example/schemas"), "https://a.example/schemas/"),
        (("--base-url", "https://a.example/schemas/"), "https://a.example/schemas/"),
    ],
)
def test_the_catalog_names_every_schema(tmp_path: Path, words: tuple[str, ...], prefix: str) -> None:
    catalog = write(tmp_path, *words)["catalog.json"]
    assert catalog["version"] == 1
    assert [entry["url"] for entry in catalog["schemas"]] == [f"{prefix}{name}" for name in FILES[:-1]]
    assert all(entry["name"] and entry["description"] for entry in catalog["schemas"])


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("mnist.trainjob.yaml", ["TrainJob"]),
        ("jobs/mnist.trainjob.yml", ["TrainJob"]),
        ("torch.clustertrainingruntime.yaml", ["ClusterTrainingRuntime"]),
        ("torch.trainingruntime.json", ["TrainingRuntime"]),
        ("/home/me/trainjobs/mnist.yaml", ["trainlet"]),
        ("/home/me/trainjobs/team/mnist.json", ["trainlet"]),
        ("compose.yaml", []),
        ("trainjob.py", []),
    ],
)
def test_the_catalog_tells_files_by_their_names(tmp_path: Path, file: str, names: list[str]) -> None:
    catalog = write(tmp_path)["catalog.json"]
    matching = [entry["name"] for entry in catalog["schemas"] if any(fnmatch(file, glob) for glob in _expand(entry))]
    assert matching == names


def _expand(entry: JSON) -> list[str]:
    """Return the globs of an entry as fnmatch reads them, to which one star is any number of directories."""
    return [glob.replace("/**/*", "/*") for glob in entry["fileMatch"]]


def test_definitions_of_a_directory_count_instead_of_our_own(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "string"}}}
    crd = {
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "xs.a.b"},
        "spec": {
            "group": "a.b",
            "names": {"kind": "X", "plural": "xs"},
            "scope": "Cluster",
            "versions": [{"name": "v2", "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    (tmp_path / "x.json").write_text(json.dumps(crd), encoding="utf-8")
    files = write(tmp_path / "out", "--crds", str(tmp_path))
    assert sorted(files) == ["a.b/x_v2.json", "all.json", "catalog.json"]
    assert files["a.b/x_v2.json"]["properties"]["apiVersion"]["enum"] == ["a.b/v2"]


def test_a_place_that_cannot_be_written_to_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["schema", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith("error: cannot write the schema: ")


def test_a_place_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 2
    assert "--out" in capsys.readouterr().err

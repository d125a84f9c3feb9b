"""`--crds DIR`: definitions of the user's own decide, and those that cannot are refused before anything is judged."""

from pathlib import Path

import pytest
import yaml

from manifests import Desk, build_manifest
from trainlet.kube.meta import JSON
from upstream_crds import write_upstream_crds

TRAIN_JOBS = "trainer.kubeflow.org_trainjobs.yaml"
RUNTIMES = "trainer.kubeflow.org_trainingruntimes.yaml"


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(tmp_path, capsys, monkeypatch)
    write_upstream_crds(desk.out / "crds")
    desk.write(desk.out, "a.yaml", build_manifest("one", numNodes=8))
    return desk


def add_to_trainer(desk: Desk, **keywords: object) -> None:
    """Add keywords to the schema of spec.trainer."""
    path = desk.out / "crds" / TRAIN_JOBS
    document: JSON = yaml.load(path.read_text(), yaml.CSafeLoader)
    stored = next(version for version in document["spec"]["versions"] if version["storage"])
    stored["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["trainer"].update(keywords)
    path.write_text(yaml.dump(document, Dumper=yaml.CSafeDumper))


def test_upstream_s_files_are_taken_as_they_are(desk: Desk) -> None:
    assert desk.run("validate", "--crds", "crds", "a.yaml") == 0, desk.stderr
    assert desk.stdout == "a.yaml: TrainJob default/one accepted\n"


def test_a_rule_of_the_user_s_own_is_judged(desk: Desk) -> None:
    rule = {"rule": "self.numNodes <= 4", "messageExpression": "'at most 4, not ' + string(self.numNodes)"}
    add_to_trainer(desk, **{"x-kubernetes-validations": [rule]})
    assert desk.run("validate", "--crds", "crds", "a.yaml") == 1
    assert 'spec.trainer: Invalid value: "object": at most 4, not 8' in desk.stdout
    assert desk.run("validate", "a.yaml") == 0, "without the flag ours decide"


UNUSABLE: dict[str, tuple[JSON, str]] = {
    "a rule that is no CEL": ({"x-kubernetes-validations": [{"rule": "self.numNodes <="}]}, "spec.trainer"),
    "a function that is unknown": ({"x-kubernetes-validations": [{"rule": "isURL('x')"}]}, "isURL"),
    "a pattern that is not RE2's": ({"pattern": "(?=a)"}, "spec.trainer: '(?=a)'"),
}


@pytest.mark.parametrize(("keywords", "problem"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_could_not_be_judged_is_refused_at_once(desk: Desk, keywords: JSON, problem: str) -> None:
    add_to_trainer(desk, **keywords)
    assert desk.run("validate", "--crds", "crds", "a.yaml") == 2
    assert desk.stderr.startswith("error: a ")
    assert problem in desk.stderr
    assert "trainjobs.trainer.kubeflow.org" in desk.stderr


def test_all_three_kinds_must_be_there(desk: Desk) -> None:
    (desk.out / "crds" / RUNTIMES).unlink()
    assert desk.run("validate", "--crds", "crds", "a.yaml") == 2
    assert desk.stderr == (
        f"error: no definition of TrainingRuntime.trainer.kubeflow.org ({desk.out / 'crds'}): "
        "give a directory with those of all three kinds\n"
    )


@pytest.mark.parametrize("text", ["", "a: [", "kind: CustomResourceDefinition\n"])
def test_a_directory_of_something_else(desk: Desk, text: str) -> None:
    directory = desk.out / "other"
    directory.mkdir()
    (directory / "x.yaml").write_text(text)
    assert desk.run("validate", "--crds", "other", "a.yaml") == 2
    assert str(directory) in desk.stderr or "custom resource definition" in desk.stderr

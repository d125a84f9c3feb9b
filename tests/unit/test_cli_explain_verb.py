"""`trainlet explain`: the form of kubectl's, every name of a kind, and fields that are not there."""

import pytest

from trainlet.admission.crd import parse_crd
from trainlet.cli.completion import read_verb, render_bash, render_fish
from trainlet.cli.field_help import Field, find_field, name_type
from trainlet.cli.main import main
from trainlet.kube.meta import JSON
from trainlet.package_data import read_crds

CRDS = {crd.kind: crd for crd in map(parse_crd, read_crds())}
JOB = "spec.template.spec.replicatedJobs"
POD = f"{JOB}.template.spec.template.spec"
TEXT = {"type": "string"}


@pytest.fixture
def explain(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Return what the verb prints."""

    def run(*words: str) -> str:
        assert main(["explain", *words]) == 0
        return capsys.readouterr().out

    return run


def test_a_field_with_fields(explain) -> None:  # type: ignore[no-untyped-def]
    assert (
        explain("trainjob.spec.runtimeRef")
        == """\
GROUP:      trainer.kubeflow.org
KIND:       TrainJob
VERSION:    v1alpha1

FIELD: runtimeRef <Object> -required-

DESCRIPTION:
    The runtime whose template the job is built from.

    - field is immutable

FIELDS:
  apiGroup\t<string>
  default: trainer.kubeflow.org
    API group of the runtime.

  kind\t<string>
  default: ClusterTrainingRuntime
    ClusterTrainingRuntime, or TrainingRuntime for one in the job's own
    namespace.

  name\t<string> -required-
    Name of the runtime.

"""
    )


def test_a_field_without_fields(explain) -> None:  # type: ignore[no-untyped-def]
    assert (
        explain("ctr.spec.mlPolicy.mpi.mpiImplementation")
        == """\
GROUP:      trainer.kubeflow.org
KIND:       ClusterTrainingRuntime
VERSION:    v1alpha1

FIELD: mpiImplementation <string>
ENUM:
    OpenMPI
    ""
DEFAULT:
    OpenMPI

DESCRIPTION:
    The MPI whose host file is written.

"""
    )


def test_a_kind_has_no_field_line(explain) -> None:  # type: ignore[no-untyped-def]
    text = explain("tj")
    assert "FIELD:" not in text
    assert "One training job" in text
    assert "\n  spec\t<Object>\n    What the job should do.\n" in text


def test_enums_stand_in_the_list(explain) -> None:  # type: ignore[no-untyped-def]
    assert "  status\t<string> -required-\n  enum: Ready, Complete\n    What" in explain(f"tr.{JOB}.dependsOn")


def test_all_fields_below_it(explain) -> None:  # type: ignore[no-untyped-def]
    text = explain("tj.spec.initializer", "--recursive")
    assert text[text.index("FIELDS:") :].startswith(
        """\
FIELDS:
  dataset\t<Object>
    env\t<[]Object>
      name\t<string> -required-
      value\t<string>
      valueFrom\t<Object>
        configMapKeyRef\t<Object>
          key\t<string> -required-
"""
    )
    assert "Variables added" not in text


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("TrainJob", ("tj", "trainjob", "trainjobs", "TrainJob", "trainjobs.trainer.kubeflow.org")),
        ("TrainingRuntime", ("tr", "trainingruntime", "trainingruntimes", "trainingruntime.trainer.kubeflow.org")),
        ("ClusterTrainingRuntime", ("ctr", "clustertrainingruntime", "clustertrainingruntimes")),
    ],
)
def test_a_kind_is_found_by_each_of_its_names(explain, kind: str, words: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    for word in words:
        assert f"KIND:       {kind}\n" in explain(word)
        assert "FIELD: spec <Object>" in explain(f"{word}.spec")


@pytest.mark.parametrize("item", ["env", "env[0]", "env[]"])
def test_items_of_a_list_need_not_be_counted_but_may(explain, item: str) -> None:  # type: ignore[no-untyped-def]
    assert "FIELD: name <string> -required-" in explain(f"tj.spec.trainer.{item}.name")


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("tj.spec.trainer.numNode", 'field "numNode" does not exist (tj.spec.trainer): did you mean "numNodes"?'),
        ("tj.spec.runtimeref", 'field "runtimeref" does not exist (tj.spec): did you mean "runtimeRef"?'),
        ("tj.spec.xyzzy.a", 'field "xyzzy" does not exist (tj.spec): trainlet explain tj.spec lists its fields'),
        ("tj.spec.suspend.a", 'field "a" does not exist (tj.spec.suspend): <boolean> has no fields'),
    ],
)
def test_a_field_that_is_not_there(capsys: pytest.CaptureFixture[str], path: str, error: str) -> None:
    assert main(["explain", path]) == 1
    assert capsys.readouterr().err == f"error: {error}\n"


@pytest.mark.parametrize("word", ["pods", "trainjobsx.spec", ".spec"])
def test_a_kind_without_definition_is_wrong_usage(capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert main(["explain", word]) == 2
    text = capsys.readouterr().err
    assert text.startswith(f"error: there is no definition of {word.partition('.')[0]!r}: ")
    assert "trainjobs (tj)" in text


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        (TEXT, "string"),
        ({"type": "integer"}, "integer"),
        ({"type": "object"}, "Object"),
        ({}, "Object"),
        ({"x-kubernetes-int-or-string": True}, "IntOrString"),
        ({"type": "array", "items": {"type": "object"}}, "[]Object"),
        ({"type": "object", "additionalProperties": TEXT}, "map[string]string"),
        ({"type": "object", "additionalProperties": True}, "Object"),
        ({"type": "array", "items": {"type": "object", "additionalProperties": TEXT}}, "[]map[string]string"),
    ],
)
def test_types_are_named_as_kubectl_does(schema: JSON, name: str) -> None:
    assert name_type(schema) == name


def list_silent(field: Field) -> list[str]:
    """Return the paths of all fields below one that say nothing of themselves."""
    own = [] if field.schema.get("description") else [field.path]
    return own + [path for inner in field.fields for path in list_silent(inner)]


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("TrainJob", "spec.runtimeRef"),
        ("TrainJob", "spec.initializer"),
        ("TrainJob", "spec.trainer"),
        ("TrainJob", "status"),
        ("TrainingRuntime", "spec.mlPolicy"),
        ("TrainingRuntime", "spec.podGroupPolicy"),
        *(
            ("TrainingRuntime", f"spec.template.spec.{name}")
            for name in ("network", "successPolicy", "failurePolicy", "startupPolicy", "coordinator")
        ),
        ("TrainingRuntime", f"{JOB}.dependsOn"),
        *(
            ("TrainingRuntime", f"{JOB}.template.spec.{name}")
            for name in ("podFailurePolicy", "successPolicy", "selector")
        ),
        *(
            ("TrainingRuntime", f"{POD}.containers.{name}")
            for name in ("env", "envFrom", "lifecycle", "livenessProbe", "ports", "resources", "volumeMounts")
        ),
    ],
)
def test_all_below_it_is_described(kind: str, path: str) -> None:
    assert list_silent(find_field(Field(kind, CRDS[kind].schema), path.split("."))) == []


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        *(("TrainJob", path) for path in ("spec", "spec.runtimePatches.trainingRuntimeSpec.template")),
        *(
            ("ClusterTrainingRuntime", path)
            for path in ("spec", "spec.template", "spec.template.spec", JOB, f"{JOB}.template.spec", POD)
        ),
        *(
            ("ClusterTrainingRuntime", f"{POD}.{name}")
            for name in ("containers", "initContainers", "ephemeralContainers", "volumes", "securityContext")
        ),
        ("ClusterTrainingRuntime", f"{POD}.containers.securityContext"),
    ],
)
def test_each_field_of_it_is_described(kind: str, path: str) -> None:
    field = find_field(Field(kind, CRDS[kind].schema), path.split("."))
    assert field.fields
    assert [inner.name for inner in field.fields if not inner.schema.get("description")] == []


def test_shells_complete_the_kinds_that_are_defined() -> None:
    kinds = "trainjobs clustertrainingruntimes trainingruntimes"
    verbs = [read_verb("explain"), read_verb("schema")]
    assert f"explain) candidates='{kinds}' ;;" in render_bash(verbs)
    assert f"'__fish_seen_subcommand_from explain' -a '{kinds}'\n" in render_fish(verbs)
    assert "-l base-url" in render_fish(verbs)

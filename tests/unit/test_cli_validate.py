"""`trainlet validate`: exit status, text and JSON, and what documents of one call see of each other."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from builders import build_runtime
from manifests import Desk, build_manifest
from trainlet.cli.side_by_side import MANY
from trainlet.kube.meta import JSON


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, capsys, monkeypatch)


def validate(desk: Desk, *words: str, stdin: str = "") -> list[JSON]:
    """Return the JSON entries; the exit status must say the same."""
    status = desk.run("validate", "-o", "json", *words, stdin=stdin)
    entries: list[JSON] = json.loads(desk.stdout)
    assert status == (0 if all(entry["accepted"] for entry in entries) else 1)
    return entries


def test_what_is_good_is_accepted_in_one_line_a_document(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest("one"), build_manifest("two", "team"))
    assert desk.run("validate", "a.yaml") == 0
    assert desk.stdout == "a.yaml: TrainJob default/one accepted\na.yaml: TrainJob team/two accepted\n"


def test_an_error_shows_its_place_in_the_file(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest(numNode=2))
    assert desk.run("validate", "a.yaml") == 1
    assert desk.stdout == (
        'a.yaml:9:14: spec.trainer.numNode: Unknown field: did you mean "numNodes"?\n'
        "        numNode: 2\n"
        "                 ^\n"
    )


def test_a_file_that_is_no_yaml_shows_where_it_stops_to_be(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", "a: [1,\nb: 2\n")
    assert desk.run("validate", "a.yaml") == 1
    assert desk.stdout.startswith("a.yaml:3:1: not valid YAML:"), desk.stdout


def test_an_entry_has_all_that_scripts_rely_on(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest("one", numNodes="two"))
    assert validate(desk, "a.yaml") == [
        {
            "file": "a.yaml",
            "document": 0,
            "line": 1,
            "apiVersion": "trainer.kubeflow.org/v1alpha1",
            "kind": "TrainJob",
            "namespace": "default",
            "name": "one",
            "accepted": False,
            "errors": [
                {
                    "stage": "schema",
                    "path": "spec.trainer.numNodes",
                    "type": "Invalid value",
                    "value": "two",
                    "detail": 'spec.trainer.numNodes in body must be of type integer: "string"',
                    "line": 9,
                    "column": 15,
                }
            ],
            "warnings": [],
        }
    ]


def test_a_file_that_is_no_yaml_is_an_entry_too(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", "a: [1,\nb: 2\n")
    desk.write(desk.out, "b.yaml", build_manifest())
    broken, good = validate(desk, "a.yaml", "b.yaml")
    assert (broken["file"], broken["kind"], broken["accepted"], broken["line"]) == ("a.yaml", "", False, 3)
    assert [(e["stage"], e["line"], e["column"]) for e in broken["errors"]] == [("parse", 3, 1)]
    assert good["accepted"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("- a\n", ("parse", "", "Invalid value", "this document is not a mapping")),
        (
            "kind: Pod\napiVersion: trainer.kubeflow.org/v1alpha1\n",
            ("schema", "kind", "Unsupported value", None),
        ),
        ("metadata: {}\n", ("schema", "kind", "Required value", None)),
    ],
)
def test_what_is_no_object_of_ours_is_refused(desk: Desk, text: str, error: tuple[str, ...]) -> None:
    desk.write(desk.out, "a.yaml", text)
    [entry] = validate(desk, "a.yaml")
    [found] = entry["errors"]
    assert (found["stage"], found["path"], found["type"]) == error[:3]
    assert error[3] in (None, found["detail"])


def test_what_is_for_others_is_ignored(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}})
    [entry] = validate(desk, "a.yaml")
    assert (entry["kind"], entry["accepted"], entry["errors"]) == ("Pod", True, [])
    assert entry["warnings"] == ["not a kind that trainlet knows: ignored"]


def test_entries_are_in_file_order_though_runtimes_are_admitted_first(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest(runtime="new"), build_runtime("new"))
    entries = validate(desk, "a.yaml")
    assert [(e["document"], e["kind"], e["accepted"]) for e in entries] == [
        (0, "TrainJob", True),
        (1, "ClusterTrainingRuntime", True),
    ]


@pytest.mark.parametrize("source", ["the directory", "a runtime source", "the built-in ones"])
def test_a_job_finds_its_runtime_in(desk: Desk, source: str) -> None:
    desk.write(desk.out, "runtime.yaml", build_runtime("sourced"))
    name = {"the directory": "own", "a runtime source": "sourced", "the built-in ones": "torch-distributed"}[source]
    desk.write(desk.out, "a.yaml", build_manifest(runtime=name))
    assert [e["accepted"] for e in validate(desk, "--runtime-source", "runtime.yaml", "a.yaml")] == [True]


def test_a_runtime_of_the_same_call_hides_the_directorys(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest(), build_runtime("own", pod={"schedulingGates": [{"name": "g"}]}))
    job, runtime = validate(desk, "a.yaml")
    assert runtime["accepted"]
    assert [e["path"] for e in job["errors"]] == [
        "spec.template.spec.replicatedJobs[0].template.spec.template.spec.schedulingGates"
    ]


def test_a_runtime_that_nobody_has_is_missed(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest(runtime="absent"))
    [entry] = validate(desk, "a.yaml")
    assert [(e["stage"], e["path"]) for e in entry["errors"]] == [("webhook", "spec.RuntimeRef")]


def test_the_second_of_two_with_one_name_is_refused(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest())
    desk.write(desk.out, "b.yaml", build_manifest("two"), build_manifest())
    first, other, second = validate(desk, "a.yaml", "b.yaml")
    assert first["accepted"]
    assert other["accepted"]
    [error] = second["errors"]
    assert (error["type"], error["path"], error["line"]) == ("Duplicate value", "metadata.name", 12)
    assert "a.yaml, line 1" in error["detail"]


def test_a_file_named_twice_is_one_file(desk: Desk) -> None:
    path = desk.write(desk.jobs, "a.yaml", build_manifest())
    assert len(validate(desk, str(desk.jobs), str(path))) == 2  # the runtime and the job


def test_a_directory_means_its_manifests_and_nothing_the_operator_wrote(desk: Desk) -> None:
    for name in ("status/default/a.yaml", "workspaces/default/a/b.yaml", ".hidden.yaml", "notes.txt", "sub/job.yaml"):
        (desk.jobs / name).parent.mkdir(parents=True, exist_ok=True)
        desk.write(desk.jobs, name, build_manifest())
    files = [entry["file"] for entry in validate(desk, "../jobs")]
    assert files == ["../jobs/own.yaml", "../jobs/sub/job.yaml"]


def test_standard_input_is_a_file_too(desk: Desk) -> None:
    [entry] = validate(desk, "-", stdin=yaml.safe_dump(build_manifest()))
    assert (entry["file"], entry["accepted"]) == ("-", True)


def test_warnings_are_told(desk: Desk) -> None:
    runtime = build_runtime("new", pod={"nodeSelector": {"disk": "fast"}})
    desk.write(desk.out, "a.yaml", runtime, build_manifest(runtime="new"))
    assert "nodeSelector has no effect" in validate(desk, "a.yaml")[1]["warnings"][0]
    assert desk.run("validate", "a.yaml") == 0
    assert "warning: " in desk.stdout


def test_a_path_that_is_not_there_is_wrong_usage(desk: Desk) -> None:
    assert desk.run("validate", "absent.yaml") == 2
    assert desk.stderr.startswith("error: cannot read the path: No such file or directory (absent.yaml): ")


def test_nothing_is_written(desk: Desk) -> None:
    before = sorted(desk.jobs.rglob("*"))
    desk.write(desk.out, "a.yaml", build_manifest())
    desk.run("validate", "a.yaml", str(desk.jobs))
    assert sorted(desk.jobs.rglob("*")) == before


def test_an_update_may_not_change_what_is_immutable(desk: Desk) -> None:
    desk.write(desk.out, "old.yaml", build_manifest(), build_runtime("other"))
    changed = desk.write(desk.out, "new.yaml", build_manifest(runtime="other"))
    assert [entry["accepted"] for entry in validate(desk, "old.yaml", "new.yaml")][:2] == [True, True]
    [entry] = validate(desk, "--old", "old.yaml", str(changed))
    assert [(e["stage"], e["path"]) for e in entry["errors"]] == [("cel", "spec.runtimeRef")]


def test_what_cannot_be_stored_cannot_be_old(desk: Desk) -> None:
    desk.write(desk.out, "old.yaml", build_manifest(runtime="absent"))
    desk.write(desk.out, "new.yaml", build_manifest())
    assert desk.run("validate", "--old", "old.yaml", "new.yaml") == 2
    assert "old.yaml:6:3" in desk.stderr


def test_colour_is_there_when_it_is_wished_and_only_for_people(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest(numNode=2))
    desk.run("validate", "a.yaml")
    plain = desk.stdout
    assert desk.run("validate", "--color", "always", "a.yaml") == 1
    assert desk.stdout != plain
    assert re.sub("\x1b\\[[0-9;]*m", "", desk.stdout) == plain
    for output in ("json", "yaml", "github"):
        desk.run("validate", "--color", "always", "-o", output, "a.yaml")
        assert "\x1b" not in desk.stdout


def test_github_is_told_what_to_mark(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest("good"), build_manifest(numNode=2))
    assert desk.run("validate", "-o", "github", "a.yaml") == 1
    assert desk.stdout == (
        "::error file=a.yaml,line=17,col=14,title=Unknown field"
        '::spec.trainer.numNode: Unknown field: did you mean "numNodes"?\n'
    )
    assert desk.run("validate", "-o", "github", "-", stdin=yaml.safe_dump(build_manifest())) == 0
    assert desk.stdout == ""
    assert desk.run("validate", "-o", "github", "-", stdin="a: [") == 1
    assert desk.stdout.startswith("::error file=-,line=2,col=1,title=Invalid value::not valid YAML"), desk.stdout


def test_a_hint_follows_what_is_immutable(desk: Desk) -> None:
    desk.write(desk.out, "old.yaml", build_manifest(), build_runtime("other"))
    desk.write(desk.out, "new.yaml", build_manifest(runtime="other"))
    assert desk.run("validate", "--old", "old.yaml", "new.yaml") == 1
    error, *_, hint = desk.stdout.splitlines()
    assert "field is immutable" in error
    assert hint.startswith("hint: ")


# The hook for pre-commit

ROOT = Path(__file__).parents[2]


def run_hook(root: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """Call the hook on those of a repository's files that it is for, as pre-commit does."""
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    chosen = [name for name in names if is_for(hook, name)]
    program, *words = shlex.split(hook["entry"])
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    module, _, function = scripts[program].partition(":")
    start = f"import sys; from {module} import {function}; sys.exit({function}())"
    command = [sys.executable, "-c", start, *words, *chosen]
    environ = {"PYTHONPATH": str(ROOT / "operator")}
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=60, check=False)


def is_for(hook: JSON, name: str) -> bool:
    kinds = {"yaml": (".yaml", ".yml"), "json": (".json",)}
    suffixes = [suffix for kind in hook["types_or"] for suffix in kinds[kind]]
    is_meant = re.search(hook["files"], name) and not re.search(hook["exclude"], name)
    return bool(is_meant) and Path(name).suffix in suffixes


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with three jobs, two of them wrong, a runtime, a foreign kind, and what nobody should read."""
    files = {
        "jobs/good.yaml": build_manifest("good"),
        "jobs/lost.yaml": build_manifest("lost", runtime="absent"),
        "mnist-trainjob.yaml": build_manifest("mnist", numNode=2),
        "runtimes/own.json": json.dumps(build_runtime("own")),
        "manifests/map.yaml": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
        "manifests/service.yaml": {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}},
        "jobs/status/default/good.yaml": {"no": "object"},
        "compose.yaml": {"services": {}},
        "jobs/train.py": "print()",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False), "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("names", "status", "text"),
    [
        (("jobs/good.yaml", "runtimes/own.json"), 0, "jobs/good.yaml: TrainJob default/good accepted"),
        (("jobs/good.yaml",), 0, "jobs/good.yaml: TrainJob default/good accepted"),
        (("jobs/lost.yaml", "jobs/good.yaml"), 1, "jobs/lost.yaml:6:3: spec.RuntimeRef: "),
        (("runtimes/own.json", "mnist-trainjob.yaml"), 1, 'did you mean "numNodes"?'),
        (("manifests/map.yaml",), 0, "manifests/map.yaml: ConfigMap default/a accepted"),
        (("manifests/service.yaml",), 0, "not a kind that trainlet knows: ignored"),
        (("runtimes/own.json", "jobs/status/default/good.yaml", "compose.yaml", "jobs/train.py"), 0, "own accepted"),
    ],
)
def test_the_hook_refuses_a_commit_as_the_operator_would(
    repository: Path, names: tuple[str, ...], status: int, text: str
) -> None:
    done = run_hook(repository, *names)
    assert (done.returncode, done.stderr) == (status, "")
    assert text in done.stdout
    assert "\x1b" not in done.stdout


def test_the_hook_gets_all_files_in_one_call() -> None:
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert (hook["id"], hook["language"], hook["pass_filenames"]) == ("trainlet-validate", "python", True)
    assert hook["require_serial"] is True


def test_many_files_are_told_of_as_a_few_are(desk: Desk) -> None:
    for number in range(MANY):
        desk.write(desk.out, f"{number:03}.yaml", build_manifest(f"job-{number}", numNodes=number % 3 - 1))
    desk.write(desk.out, "zz.yaml", build_runtime("mine"), build_manifest("last", runtime="mine"), "kind: [")
    many = validate(desk, ".")
    names = sorted(path.name for path in desk.out.iterdir())
    assert many == validate(desk, *names[:50]) + validate(desk, *names[50:])
    assert {entry["accepted"] for entry in many} == {True, False}


def test_among_many_files_too_the_first_of_two_keeps_its_name(desk: Desk) -> None:
    for number in range(MANY):
        desk.write(desk.out, f"{number:03}.yaml", build_manifest(f"job-{number}"))
    desk.write(desk.out, "zz.yaml", build_manifest("job-7"))
    refused = [entry for entry in validate(desk, ".") if not entry["accepted"]]
    assert [entry["file"] for entry in refused] == ["zz.yaml"]
    assert "is already defined in 007.yaml" in refused[0]["errors"][0]["detail"]


def test_a_job_finds_its_runtime_whichever_process_reads_it(desk: Desk) -> None:
    desk.write(desk.out, "000.yaml", build_runtime("mine"))
    for number in range(1, MANY):
        desk.write(desk.out, f"{number:03}.yaml", build_manifest(f"job-{number}", runtime="mine"))
    assert all(entry["accepted"] for entry in validate(desk, "."))

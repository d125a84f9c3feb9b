"""`trainlet apply` and `runtimes`: which file a manifest goes to, and that nothing else is lost."""

import json
from pathlib import Path

import pytest
import yaml

from builders import build_job, build_runtime
from manifests import Desk, build_manifest
from trainlet.documents.status_dir import StatusDir

JOB = "trainjob.trainer.kubeflow.org"


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, capsys, monkeypatch)


def apply(desk: Desk, *paths: str, stdin: str = "") -> str:
    assert desk.run("apply", "-f", *paths, stdin=stdin) == 0, desk.stderr
    return desk.stdout


def files(desk: Desk) -> list[str]:
    return sorted(path.name for path in desk.jobs.iterdir() if path.name != "own.yaml")


def test_a_file_is_copied_byte_by_byte_under_its_name(desk: Desk) -> None:
    path = desk.write(desk.out, "a.yaml", f"# mine\n{yaml.safe_dump(build_manifest())}")
    assert apply(desk, "a.yaml") == f"{JOB}/mnist created\n"
    assert (desk.jobs / "a.yaml").read_bytes() == path.read_bytes()


def test_the_second_time_it_is_unchanged_or_configured(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest())
    apply(desk, "a.yaml")
    assert apply(desk, "a.yaml") == f"{JOB}/mnist unchanged\n"
    desk.write(desk.out, "a.yaml", build_manifest(numNodes=2))
    assert apply(desk, "a.yaml") == f"{JOB}/mnist configured\n"
    assert "numNodes: 2" in (desk.jobs / "a.yaml").read_text()


def test_if_one_document_is_refused_nothing_is_copied(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest("good"))
    desk.write(desk.out, "b.yaml", build_manifest("bad", numNode=1))
    assert desk.run("apply", "-f", "a.yaml", "-f", "b.yaml") == 1
    assert 'b.yaml:9:14: spec.trainer.numNode: Unknown field: did you mean "numNodes"?' in desk.stderr
    assert files(desk) == []


def test_a_stored_job_cannot_get_another_runtime(desk: Desk) -> None:
    StatusDir(desk.jobs / "status").write_job("default", "mnist", [build_job()])
    desk.write(desk.out, "a.yaml", build_manifest(runtime="own"))
    assert desk.run("apply", "-f", "a.yaml") == 1
    assert "spec.runtimeRef" in desk.stderr
    assert files(desk) == ["status"]


def test_an_object_is_updated_where_it_is_defined(desk: Desk) -> None:
    desk.write(desk.jobs, "first.yaml", build_manifest())
    desk.write(desk.out, "other.yaml", build_manifest(numNodes=2))
    assert apply(desk, "other.yaml") == f"{JOB}/mnist configured\n"
    assert files(desk) == ["first.yaml"]
    assert "numNodes: 2" in (desk.jobs / "first.yaml").read_text()


def test_a_file_that_holds_more_is_left_to_the_user(desk: Desk) -> None:
    both = desk.write(desk.jobs, "both.yaml", build_manifest(), build_manifest("two"))
    before = both.read_bytes()
    desk.write(desk.out, "a.yaml", build_manifest(numNodes=2))
    assert desk.run("apply", "-f", "a.yaml") == 2
    assert "TrainJob default/mnist is already defined in" in desk.stderr
    assert "edit both.yaml" in desk.stderr
    assert both.read_bytes() == before


def test_a_file_of_the_same_name_with_another_object_is_not_lost(desk: Desk) -> None:
    desk.write(desk.jobs, "job.yaml", build_manifest("one"))
    desk.write(desk.out, "job.yaml", build_manifest("two", "team"))
    assert apply(desk, "job.yaml") == f"{JOB}/two created\n"
    assert files(desk) == ["job.yaml", "trainjob-team-two.yaml"]
    assert "name: one" in (desk.jobs / "job.yaml").read_text()


def test_a_broken_file_of_the_same_name_is_replaced(desk: Desk) -> None:
    desk.write(desk.jobs, "a.yaml", "a: [")
    desk.write(desk.out, "a.yaml", build_manifest())
    apply(desk, "a.yaml")
    assert files(desk) == ["a.yaml"]
    assert "name: mnist" in (desk.jobs / "a.yaml").read_text()


def test_every_document_of_standard_input_gets_a_file(desk: Desk) -> None:
    text = f"# one\n{yaml.safe_dump(build_manifest('one'))}---\n# two\n{yaml.safe_dump(build_runtime('two'))}"
    assert apply(desk, "-", stdin=text) == (
        f"{JOB}/one created\nclustertrainingruntime.trainer.kubeflow.org/two created\n"
    )
    assert files(desk) == ["clustertrainingruntime-two.yaml", "trainjob-one.yaml"]
    assert "# two" in (desk.jobs / "clustertrainingruntime-two.yaml").read_text()


def test_a_file_that_the_operator_would_not_read_gets_a_name_that_it_does(desk: Desk) -> None:
    desk.write(desk.out, "job.txt", build_manifest())
    apply(desk, "job.txt")
    assert files(desk) == ["trainjob-mnist.yaml"]


def test_the_directory_applied_to_itself_is_unchanged(desk: Desk) -> None:
    desk.write(desk.jobs, "a.yaml", build_manifest())
    assert "created" not in apply(desk, str(desk.jobs))
    assert files(desk) == ["a.yaml"]


def test_a_link_stays_a_link(desk: Desk) -> None:
    kept = desk.write(desk.out, "kept.yaml", build_manifest())
    (desk.jobs / "a.yaml").symlink_to(kept)
    desk.write(desk.out, "a.yaml", build_manifest(numNodes=2))
    apply(desk, "a.yaml")
    assert (desk.jobs / "a.yaml").is_symlink()
    assert "numNodes: 2" in kept.read_text()


def test_a_directory_that_is_not_there_is_wrong_usage(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_manifest(runtime="torch-distributed"))
    assert desk.run("apply", "--dir", str(desk.out / "absent"), "-f", "a.yaml") == 2
    assert "cannot read the watched directory: No such file or directory" in desk.stderr


def test_a_place_that_cannot_be_written_is_named(desk: Desk) -> None:
    (desk.jobs / "a.yaml").symlink_to("/proc/a.yaml")  # nobody may make a file there, not even root
    desk.write(desk.out, "a.yaml", build_manifest())
    assert desk.run("apply", "-f", "a.yaml") == 4
    assert desk.stderr.startswith("error: cannot write the manifest: ")


def test_nothing_to_apply_is_wrong_usage(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", "# nothing\n")
    assert desk.run("apply", "-f", "a.yaml") == 2


def test_runtimes_are_listed_with_their_source(desk: Desk) -> None:
    assert desk.run("runtimes", "-o", "json") == 0
    rows = {row["name"]: row for row in json.loads(desk.stdout)}
    assert rows["own"] == {
        "name": "own",
        "kind": "ClusterTrainingRuntime",
        "namespace": "",
        "framework": "",
        "policy": "torch",
        "image": "image:1",
        "source": str(desk.jobs / "own.yaml"),
        "url": "",
        "checked": "",
    }
    assert rows["torch-distributed"]["url"] == "builtin"
    assert rows["torch-distributed"]["source"].endswith("torch-distributed.yaml")


def test_runtimes_can_be_listed_for_people_and_by_name(desk: Desk) -> None:
    assert desk.run("runtimes") == 0
    header, *rows = desk.stdout.splitlines()
    own = next(row for row in rows if row.startswith("own "))
    assert header.split() == ["NAME", "KIND", "NAMESPACE", "FRAMEWORK", "SOURCE", "AGE"]
    assert own.split() == ["own", "ClusterTrainingRuntime", "<none>", "<none>", str(desk.jobs / "own.yaml")]
    assert desk.run("runtimes", "-o", "wide") == 0
    assert desk.stdout.splitlines()[0].split()[-2:] == ["POLICY", "IMAGE"]
    desk.run("runtimes", "-o", "name")
    assert "clustertrainingruntime.trainer.kubeflow.org/own" in desk.stdout.splitlines()

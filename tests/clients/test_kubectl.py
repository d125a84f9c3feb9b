"""The real kubectl against a live operator: what people type, and what becomes of it in the directory."""

import subprocess
import threading
from pathlib import Path

import pytest
import yaml

from cluster import SELECTOR, Cluster, build_job, build_runtime, open_cluster
from engines import KINDS
from waiting import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("kubectl")]

ENDLESS = "echo begun; while :; do sleep 0.2; done"
HELD = {"suspend": True}


def read_file(cluster: Cluster, name: str) -> str:
    """Return what the directory says of a job, in the file that it is in."""
    return Path(cluster.report(name)["source"]["file"]).read_text(encoding="utf-8")


def drop_held(cluster: Cluster, name: str) -> None:
    """Drop a job that is suspended, and wait until it is accepted."""
    cluster.drop(build_job(name, "true", **HELD))
    cluster.wait_phase(name, "Suspended")


def test_what_there_is(processes: Cluster) -> None:
    assert "trainlet" in processes.kubectl("version")
    resources = processes.kubectl("api-resources", "-o", "name").split()
    assert {"trainjobs.trainer.kubeflow.org", "pods", "jobsets.jobset.x-k8s.io", "configmaps"} <= set(resources)
    assert "trainer.kubeflow.org/v1alpha1" in processes.kubectl("api-versions")
    assert "numNodes" in processes.kubectl("explain", "trainjob.spec.trainer")
    assert processes.kubectl("get", "nodes", "-o", "name").startswith("node/")
    assert "default" in processes.kubectl("get", "ns")
    assert "torch-distributed" in processes.kubectl("get", "clustertrainingruntimes")
    assert processes.kubectl("auth", "can-i", "create", "trainjobs") == "yes\n"
    assert "NotFound" in processes.kubectl("get", "tj", "no-such-job", code=1)
    assert "No resources found" in processes.kubectl("get", "tj", "-n", "nowhere")


def test_a_job_from_its_manifest_to_its_end(processes: Cluster) -> None:
    manifest = yaml.safe_dump(build_job("whole", "echo hello; sleep 1; echo bye", nodes=2))
    assert processes.kubectl("apply", "-f", "-", given=manifest) == "trainjob.trainer.kubeflow.org/whole created\n"
    assert "spec:" in read_file(processes, "whole")
    assert processes.kubectl("apply", "-f", "-", given=manifest).endswith("unchanged\n")
    assert processes.kubectl("diff", "-f", "-", given=manifest) == ""
    processes.kubectl("wait", "tj/whole", "--for=condition=Complete", "--timeout=60s")
    assert processes.kubectl("get", "tj", "whole", "-o", "jsonpath={.status.conditions[0].type}") == "Complete"
    logs = processes.kubectl("logs", "-l", f"{SELECTOR}=whole", "--tail=-1").split()
    assert logs == ["hello", "bye"] * 2
    table = processes.kubectl("get", "pods", "-l", f"{SELECTOR}=whole", "-o", "wide").splitlines()
    assert table[0].split()[:5] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [line.split()[2] for line in table[1:]] == ["Completed", "Completed"]
    described = processes.kubectl("describe", "tj", "whole")
    assert "Complete" in described
    assert "Events:" in described
    pod = processes.pods("whole")[0]
    assert "Completed" in processes.kubectl("describe", "pod", pod)
    assert "Started" in processes.kubectl("events", "--for", "trainjob/whole")
    assert processes.kubectl("delete", "tj", "whole").startswith('trainjob.trainer.kubeflow.org "whole" deleted')
    assert not list(processes.jobs.glob("*whole*"))
    assert processes.kubectl("get", "pods", "-l", f"{SELECTOR}=whole", "-o", "name") == ""


def test_what_would_be_refused_is_refused(processes: Cluster) -> None:
    bad = build_job("bad", "true")
    bad["spec"]["trainer"]["numNodes"] = -1
    bad["spec"]["unknown"] = 1
    said = processes.kubectl("apply", "-f", "-", given=yaml.safe_dump(bad), code=1)
    assert 'unknown field "spec.unknown"' in said
    said = processes.kubectl("apply", "-f", "-", "--validate=ignore", given=yaml.safe_dump(bad), code=1)
    assert "spec.trainer.numNodes" in said
    assert not list(processes.jobs.glob("*bad*"))
    drop_held(processes, "fixed")
    said = processes.kubectl(
        "patch", "tj", "fixed", "--type=merge", "-p", '{"spec":{"runtimeRef":{"name":"x"}}}', code=1
    )
    assert "immutable" in said
    strategic = processes.kubectl("patch", "tj", "fixed", "-p", "{}", code=1)
    assert "not supported" in strategic or "UnsupportedMediaType" in strategic
    processes.kubectl("delete", "tj", "fixed")


def test_small_changes(processes: Cluster) -> None:
    path = processes.drop(build_job("small", "true", **HELD))
    path.write_text("# kept as it is\n" + path.read_text())
    processes.wait_phase("small", "Suspended")
    processes.kubectl("label", "tj", "small", "team=blue")
    processes.kubectl("annotate", "tj", "small", "note=by hand")
    assert processes.kubectl("get", "tj", "-l", "team=blue", "-o", "name") == "trainjob.trainer.kubeflow.org/small\n"
    text = read_file(processes, "small")
    assert text.startswith("# kept as it is\n")
    assert ("team: blue" in text, "note: by hand" in text) == (True, True)
    processes.kubectl("label", "tj", "small", "team-")
    assert "team" not in read_file(processes, "small")
    operation = '[{"op": "replace", "path": "/spec/suspend", "value": false}]'
    processes.kubectl("patch", "tj", "small", "--type=json", "-p", operation)
    processes.kubectl("wait", "tj/small", "--for=condition=complete", "--timeout=60s")
    assert "suspend: false" in read_file(processes, "small")
    processes.kubectl("delete", "tj", "small")


def test_an_editor_changes_the_file(processes: Cluster) -> None:
    drop_held(processes, "edited")
    editor = processes.base / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/suspend: true/suspend: false/' \"$1\"\n")
    editor.chmod(0o755)
    said = processes.kubectl("edit", "tj", "edited", env={"EDITOR": str(editor), "KUBE_EDITOR": str(editor)})
    assert said == "trainjob.trainer.kubeflow.org/edited edited\n"
    assert yaml.safe_load(read_file(processes, "edited"))["spec"]["suspend"] is False
    processes.kubectl("delete", "tj", "edited")


def test_a_manifest_takes_the_place_of_another(processes: Cluster) -> None:
    job = build_job("placed", "true", **HELD)
    assert processes.kubectl("create", "-f", "-", given=yaml.safe_dump(job)).endswith("created\n")
    assert "AlreadyExists" in processes.kubectl("create", "-f", "-", given=yaml.safe_dump(job), code=1)
    job["metadata"]["labels"] = {"round": "two"}
    said = processes.kubectl("diff", "-f", "-", given=yaml.safe_dump(job), code=1)
    assert "+    round: two" in said
    assert processes.kubectl("replace", "-f", "-", given=yaml.safe_dump(job)).endswith("replaced\n")
    assert "round: two" in read_file(processes, "placed")
    stale = processes.kubectl("get", "tj", "placed", "-o", "yaml")
    processes.kubectl("annotate", "tj", "placed", "note=newer")
    assert "Conflict" in processes.kubectl("replace", "-f", "-", given=stale, code=1)
    generated = {**job, "metadata": {"generateName": "made-", "namespace": "default"}}
    name = processes.kubectl("create", "-f", "-", "-o", "name", given=yaml.safe_dump(generated)).strip()
    processes.kubectl("delete", name, "tj/placed")


def test_dry_runs_leave_nothing(processes: Cluster) -> None:
    job = yaml.safe_dump(build_job("dry", "true"))
    assert "dry run" in processes.kubectl("apply", "--dry-run=server", "-f", "-", given=job)
    assert "NotFound" in processes.kubectl("get", "tj", "dry", code=1)
    assert not list(processes.jobs.glob("*dry*"))


def test_server_side_apply_knows_owners(processes: Cluster) -> None:
    job = build_job("owned", "true", **HELD, metadata={"labels": {"team": "blue"}})

    def apply(manager: str, document: dict[str, object], *flags: str, code: int = 0) -> str:
        words = ["apply", "--server-side", "--field-manager", manager, *flags, "-f", "-"]
        return processes.kubectl(*words, given=yaml.safe_dump(document), code=code)

    assert apply("one", job).endswith("serverside-applied\n")
    other = {**job, "metadata": {"name": "owned", "namespace": "default", "labels": {"team": "red"}}}
    assert 'conflict with "one"' in apply("two", other, code=1)
    apply("two", other, "--force-conflicts")
    assert "team: red" in read_file(processes, "owned")
    managers = processes.kubectl("get", "tj", "owned", "--show-managed-fields", "-o", "yaml")
    assert {each["manager"] for each in yaml.safe_load(managers)["metadata"]["managedFields"]} >= {"one", "two"}
    assert "managedFields" not in read_file(processes, "owned")
    processes.kubectl("delete", "tj", "owned")


def test_many_objects(processes: Cluster) -> None:
    runtime = build_runtime("by-kubectl")
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "numbers"}, "data": {"one": "1"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "words"}, "stringData": {"two": "2"}}
    all_of_them = yaml.safe_dump_all([runtime, config, secret])
    assert processes.kubectl("apply", "-f", "-", given=all_of_them).count("created\n") == 3
    assert processes.kubectl("get", "ctr", "by-kubectl", "-o", "jsonpath={.spec.mlPolicy.numNodes}") == "1"
    processes.kubectl("patch", "cm", "numbers", "-p", '{"data":{"three":"3"}}')
    data = yaml.safe_load(processes.kubectl("get", "cm", "numbers", "-o", "yaml"))["data"]
    assert data == {"one": "1", "three": "3"}
    assert processes.kubectl("get", "secret", "words", "-o", "jsonpath={.data.two}") == "Mg=="
    files = [path for path in processes.jobs.glob("*.yaml") if "kind: Secret" in path.read_text()]
    assert [path.stat().st_mode & 0o77 for path in files] == [0]
    assert processes.kubectl("delete", "-f", "-", given=all_of_them).count("deleted") == 3


def test_watches_see_all_changes(processes: Cluster) -> None:
    command = ["kubectl", "--cache-dir", str(processes.base / "discovery"), "get", "tj", "-w", "--output-watch-events"]
    seen: list[str] = []
    with subprocess.Popen(command, env=processes.environ, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        output = program.stdout
        reader = threading.Thread(target=lambda: seen.extend(output))
        reader.start()
        drop_held(processes, "watched")
        wait_for(lambda: any(line.split()[:2] == ["ADDED", "watched"] for line in seen), "the job", 30)
        processes.kubectl("delete", "tj", "watched")
        wait_for(lambda: any(line.split()[:2] == ["DELETED", "watched"] for line in seen), "its end", 30)
        program.terminate()
        reader.join()


def test_a_deletion_ends_what_runs(processes: Cluster) -> None:
    processes.kubectl("apply", "-f", "-", given=yaml.safe_dump(build_job("endless", ENDLESS)))
    processes.wait_phase("endless", "Running")  # kubectl does not wait for pods that are not there yet
    processes.kubectl("wait", "pod", "-l", f"{SELECTOR}=endless", "--for=condition=Ready", "--timeout=60s")
    uid = processes.job("endless")["metadata"]["uid"]
    waiting = threading.Thread(target=processes.kubectl, args=("wait", "tj/endless", "--for=delete", "--timeout=60s"))
    waiting.start()
    processes.kubectl("delete", "tj", "endless")
    waiting.join()
    processes.wait_gone(uid)


def test_a_deleted_pod_comes_back(processes: Cluster) -> None:
    processes.drop(build_job("again", ENDLESS))
    processes.wait_phase("again", "Running")
    before, [pod] = processes.running("again")[0].id, processes.pods("again")
    processes.kubectl("delete", "pod", pod)
    assert pod not in processes.pods("again"), "kubectl waited for its end"
    wait_for(lambda: {each.id for each in processes.running("again")} - {before}, "another container", 60)
    [other] = processes.pods("again")
    assert "deletionTimestamp" not in processes.kubectl("get", "pod", other, "-o", "yaml")
    processes.kubectl("delete", "tj", "again")


def test_what_is_not_served_fails_in_words(processes: Cluster) -> None:
    drop_held(processes, "plainly")
    assert "could not find" in processes.kubectl("scale", "tj", "plainly", "--replicas=2", code=1)
    assert processes.kubectl("create", "namespace", "other", code=1)
    assert processes.kubectl("top", "pods", code=1)
    processes.kubectl("delete", "tj", "plainly")


def test_an_operator_that_ends_ends_all_streams(tmp_path: Path) -> None:
    """What runs goes on, and clients are told by the end of their connections."""
    cluster = open_cluster(KINDS["process"], tmp_path)
    try:
        cluster.drop(build_job("lasting", ENDLESS))
        cluster.wait_phase("lasting", "Running")
        [pod] = cluster.pods("lasting")
        words = [["logs", "-f", pod], ["exec", "-i", pod, "--", "sh", "-c", "echo in; cat"], ["get", "tj", "-w"]]
        programs = [
            subprocess.Popen(
                ["kubectl", "--cache-dir", str(cluster.base / "discovery"), *each],
                env=cluster.environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for each in words
        ]
        for each in programs:
            assert each.stdout is not None
            assert each.stdout.readline()
        assert cluster.stop() == 0
        ends = {each.args[3]: (each.communicate(timeout=30)[0], each.returncode) for each in programs}
        said, code = ends["exec"]
        assert code != 0, "nobody knows how the command would have ended"
        assert b"the operator ends" in said
        assert len(cluster.running("lasting")) == 1
    finally:
        cluster.close()

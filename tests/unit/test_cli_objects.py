"""ConfigMaps, Secrets and claims on the command line: told as kubectl does, without any value of a Secret."""

import base64
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from manifests import Desk, build_manifest
from trainlet.kube.meta import JSON

VALUE = "hunter2hunter2"
ENCODED = base64.b64encode(VALUE.encode()).decode()


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, capsys, monkeypatch)


def build(kind: str, name: str = "a", **fields: Any) -> JSON:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}


def build_secret(value: str = VALUE, **fields: Any) -> JSON:
    return build("Secret", "hub", stringData={"token": value}, **fields)


CLAIM = build(
    "PersistentVolumeClaim",
    "sets",
    spec={
        "accessModes": ["ReadOnlyMany", "ReadWriteOnce"],
        "resources": {"requests": {"storage": "10Gi"}},
        "storageClassName": "fast",
    },
)
SETTINGS = build("ConfigMap", "settings", data={"a": "1", "b.yaml": "x: 1\n"}, binaryData={"c": "Yg=="})


@pytest.fixture
def objects(desk: Desk) -> Desk:
    """A directory with one object of each kind, written five minutes ago, the Secret for all to read."""
    path = desk.write(desk.jobs, "objects.yaml", build_secret(), SETTINGS, CLAIM)
    path.chmod(0o644)
    then = (datetime.now(UTC) - timedelta(minutes=5, seconds=3)).timestamp()
    os.utime(path, (then, then))
    return desk


def show(desk: Desk, *words: str) -> str:
    assert desk.run(*words) == 0, desk.stderr
    assert VALUE not in desk.stdout + desk.stderr
    assert ENCODED not in desk.stdout + desk.stderr
    return desk.stdout


# get


@pytest.mark.parametrize(
    ("words", "table"),
    [
        (["cm"], "NAME       DATA   AGE\nsettings   3      5m3s\n"),
        (["configmaps", "-A"], "NAMESPACE   NAME       DATA   AGE\ndefault     settings   3      5m3s\n"),
        (["secrets"], "NAME   TYPE     DATA   AGE\nhub    Opaque   1      5m3s\n"),
        (["secret", "hub"], "NAME   TYPE     DATA   AGE\nhub    Opaque   1      5m3s\n"),
        (
            ["pvc"],
            "NAME   STATUS   VOLUME   CAPACITY   ACCESS MODES   STORAGECLASS   AGE\n"
            "sets   Bound    sets     10Gi       RWO,ROX        fast           5m3s\n",
        ),
    ],
)
def test_the_tables(objects: Desk, words: list[str], table: str) -> None:
    assert show(objects, "get", *words).replace("5m4s", "5m3s") == table


def test_a_claims_volume_is_named_as_on_the_engine(desk: Desk) -> None:
    desk.write(desk.jobs, "a.yaml", {**CLAIM, "metadata": {"name": "sets", "namespace": "team"}})
    assert "team.sets" in show(desk, "get", "persistentvolumeclaims", "-n", "team").split()


def test_a_secret_is_shown_without_its_values(objects: Desk) -> None:
    secret = yaml.safe_load(show(objects, "get", "secret", "hub", "-o", "yaml"))
    assert secret == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hub", "namespace": "default"},
        "type": "Opaque",
        "data": {"token": "<hidden>"},
    }
    assert json.loads(show(objects, "get", "secrets", "-o", "json"))["items"] == [secret]


def test_the_copy_that_kubectl_leaves_is_not_shown(desk: Desk) -> None:
    copy = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(build_secret()), "mine": "1"}
    metadata = {"name": "hub", "annotations": copy}
    desk.write(desk.jobs, "a.yaml", {**build("Secret", data={"token": ENCODED}), "metadata": metadata})
    [secret] = yaml.safe_load(show(desk, "get", "secrets", "-o", "yaml"))["items"]
    assert secret["metadata"]["annotations"] == {"mine": "1"}


def test_a_config_map_is_shown_as_it_is_stored(objects: Desk) -> None:
    stored = yaml.safe_load(show(objects, "get", "cm/settings", "-o", "yaml"))
    assert (stored["data"], stored["binaryData"]) == (SETTINGS["data"], SETTINGS["binaryData"])
    assert stored["metadata"] == {"name": "settings", "namespace": "default"}


def test_an_object_that_is_not_there(objects: Desk) -> None:
    assert objects.run("get", "secret", "other") == 1
    assert 'secrets "other" not found' in objects.stderr


def test_what_is_not_admitted_is_told_and_not_listed(desk: Desk) -> None:
    desk.write(desk.jobs, "a.yaml", build("Secret", "bad", data={"a": VALUE + "!"}), build_secret())
    assert show(desk, "get", "secrets", "-o", "name") == "secret/hub\n"


# describe


def test_what_is_described(objects: Desk) -> None:
    path = objects.jobs / "objects.yaml"
    assert show(objects, "describe", "secret", "hub") == (
        f"Name:        hub\nNamespace:   default\nType:        Opaque\nSource:      {path}\n\n"
        "Data:\n  token:   14 bytes\n"
    )
    assert show(objects, "describe", "cm").endswith(
        "Data:\n  a:        1 bytes\n  b.yaml:   5 bytes\n  c:        1 bytes\n"
    )
    assert "storage: 10Gi" in show(objects, "describe", "pvc", "sets")


# validate


def test_a_secret_that_others_may_read_is_accepted_with_a_warning(desk: Desk) -> None:
    path = desk.write(desk.out, "a.yaml", SETTINGS, build_secret())
    path.chmod(0o644)
    warning = (
        "trainlet run will not take it: every user of this machine may read this file, in which there is a Secret: "
        "chmod 600 a.yaml, or run with --allow-unsafe-files"
    )
    assert show(desk, "validate", "a.yaml").splitlines() == [
        "a.yaml: ConfigMap default/settings accepted",
        "a.yaml: Secret default/hub accepted",
        f"a.yaml:13:1: warning: {warning}",
    ]
    [first, second] = json.loads(show(desk, "validate", "a.yaml", "-o", "json"))
    assert (first["warnings"], second["warnings"], second["accepted"]) == ([], [warning], True)
    path.chmod(0o600)
    assert "warning" not in show(desk, "validate", "a.yaml")


BROKEN = {
    "a value": "stringData:\n  token: [{value}]\n",
    "no base64": "data:\n  token: {value}!\n",
    "an alias": "stringData:\n  token: *{value}\n",
    "a quote": "stringData:\n  token: '{value}\n",
    "a key twice": "stringData:\n  token: {value}\n  token: {value}\n",
    "a field": "stringdata: {{token: {value}}}\n",
    "one line": "stringData: {{token: 1}}  # {value}\n",
}


@pytest.mark.parametrize("output", [[], ["-o", "json"], ["-o", "yaml"], ["-o", "github"]], ids=str)
@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_no_line_of_a_secret_is_shown(desk: Desk, text: str, output: list[str]) -> None:
    head = "apiVersion: v1\nkind: Secret\nmetadata: {name: hub}\n"
    desk.write(desk.out, "a.yaml", head + text.format(value=VALUE))
    assert desk.run("validate", "a.yaml", *output) == 1
    assert "a.yaml" in desk.stdout
    assert VALUE not in desk.stdout + desk.stderr
    assert desk.run("apply", "-f", "a.yaml") == 1
    assert VALUE not in desk.stdout + desk.stderr


def test_the_line_of_a_job_beside_a_secret_is_shown(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_secret(), build_manifest(numNode=1))
    assert desk.run("validate", "a.yaml") == 1
    assert "    numNode: 1\n" in desk.stdout


def test_an_update_is_judged_as_one(desk: Desk) -> None:
    desk.write(desk.out, "old.yaml", build_secret(immutable=True))
    desk.write(desk.out, "new.yaml", build_secret("other", immutable=True))
    assert desk.run("validate", "new.yaml", "--old", "old.yaml") == 1
    assert "data: Forbidden: field is immutable when `immutable` is set" in desk.stdout
    assert "trainlet.dev/replace" in desk.stdout


# apply and delete


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_secret_is_copied_for_nobody_else_to_read(desk: Desk) -> None:
    desk.write(desk.out, "a.yaml", build_secret()).chmod(0o644)
    desk.write(desk.out, "b.yaml", SETTINGS)
    assert show(desk, "apply", "-f", "a.yaml", "b.yaml") == "secret/hub created\nconfigmap/settings created\n"
    assert mode_of(desk.jobs / "a.yaml") == 0o600
    assert mode_of(desk.jobs / "b.yaml") == 0o644
    assert VALUE in (desk.jobs / "a.yaml").read_text()
    (desk.jobs / "a.yaml").chmod(0o644)
    assert show(desk, "apply", "-f", "a.yaml") == "secret/hub unchanged\n"
    assert mode_of(desk.jobs / "a.yaml") == 0o600, "it is what apply promises of it"


def test_an_update_of_what_is_frozen_is_refused_until_it_is_replaced(desk: Desk) -> None:
    desk.write(desk.jobs, "a.yaml", build_secret(immutable=True)).chmod(0o600)
    desk.write(desk.out, "a.yaml", build_secret("other", immutable=True))
    assert desk.run("apply", "-f", "a.yaml") == 1
    assert "field is immutable when `immutable` is set" in desk.stderr
    assert show(desk, "apply", "-f", "a.yaml", "--replace") == "secret/hub replaced\n"
    written = yaml.safe_load((desk.jobs / "a.yaml").read_text())
    assert written["stringData"] == {"token": "other"}
    assert "trainlet.dev/replace" in written["metadata"]["annotations"]


def test_delete_takes_the_document_away(objects: Desk) -> None:
    assert show(objects, "delete", "secret", "hub") == 'secret "hub" deleted\n'
    assert show(objects, "delete", "pvc/sets") == 'persistentvolumeclaim "sets" deleted\n'
    assert [d["kind"] for d in yaml.safe_load_all((objects.jobs / "objects.yaml").read_text())] == ["ConfigMap"]
    show(objects, "delete", "cm", "settings")
    assert not (objects.jobs / "objects.yaml").exists()
    assert objects.run("delete", "po", "x") == 2


# plan


def test_a_plan_knows_the_objects_of_the_call_and_of_the_directory(desk: Desk) -> None:
    desk.write(desk.jobs, "a.yaml", build_secret(), SETTINGS)
    nearer = {**SETTINGS, "data": {"a": "nearer"}}
    env = [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}},
    ]
    desk.write(desk.out, "a.yaml", build_manifest(env=env), nearer)
    [entry] = json.loads(show(desk, "plan", "a.yaml", "-o", "json"))
    [container] = entry["containers"]
    assert container["env"]["A"] == "nearer"
    assert container["env"]["TOKEN"] not in ("", VALUE)

"""`trainlet kubeconfig`: the user's own file gets our context and loses nothing."""

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainlet.cli.kubeconfig import find_user_file
from trainlet.cli.main import main
from trainlet.kube.meta import JSON
from trainlet.server.kubeconfig import build_kubeconfig, get_path, write_kubeconfig
from trainlet.settings import Settings

THEIRS: JSON = {
    "apiVersion": "v1",
    "kind": "Config",
    "preferences": {"colors": True},
    "clusters": [{"name": "prod", "cluster": {"server": "https://prod"}}],
    "users": [{"name": "me", "user": {"exec": {"command": "login"}}}],
    "contexts": [{"name": "prod", "context": {"cluster": "prod", "user": "me"}}],
    "current-context": "prod",
    "extensions": [{"name": "x"}],
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and in it the directory of an operator that has listened."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    private = Settings(dir=tmp_path / "jobs").private_path
    write_kubeconfig(get_path(private), build_kubeconfig(("127.0.0.1", 6443), "CA", "the-token", "default"))
    return tmp_path


def run(home: Path, *words: str) -> int:
    return main(["kubeconfig", "--dir", str(home / "jobs"), *words])


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_it_is_printed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "-n", "team") == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["clusters"][0]["cluster"] == {"server": "https://127.0.0.1:6443", "certificate-authority-data": "Q0E="}
    assert shown["users"] == [{"name": "trainlet", "user": {"token": "the-token"}}]
    assert shown["contexts"][0]["context"] == {"cluster": "trainlet", "user": "trainlet", "namespace": "team"}
    assert shown["current-context"] == "trainlet"


def test_it_goes_into_a_new_file_for_its_owner_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "--merge") == 0
    path = home / ".kube" / "config"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read(path)["current-context"] == "trainlet"
    assert capsys.readouterr().out == f'context "trainlet" is in {path} and is the current one\n'


def test_what_others_put_there_stays(home: Path) -> None:
    path = home / "mine"
    path.write_text(yaml.safe_dump(THEIRS))
    for name in ("trainlet", "second", "trainlet"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", str(path))
            assert run(home, "--merge", "--context", name) == 0
    merged = read(path)
    for each in ("clusters", "users", "contexts"):
        assert [entry["name"] for entry in merged[each]] == [THEIRS[each][0]["name"], "trainlet", "second"]
        assert merged[each][0] == THEIRS[each][0]
    assert merged["current-context"] == "trainlet"
    assert (merged["preferences"], merged["extensions"]) == (THEIRS["preferences"], THEIRS["extensions"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_stays_a_link(home: Path) -> None:
    (home / "real").write_text(yaml.safe_dump(THEIRS))
    (home / ".kube").mkdir()
    (home / ".kube" / "config").symlink_to(home / "real")
    assert run(home, "--merge") == 0
    assert (home / ".kube" / "config").is_symlink()
    assert read(home / "real")["current-context"] == "trainlet"


@pytest.mark.parametrize(
    ("variable", "there", "chosen"),
    [
        ("", (), "home/.kube/config"),
        ("a", (), "a"),
        ("a:b", ("b",), "b"),
        ("a:b", ("a", "b"), "a"),
        ("a:b", (), "b"),
        (":a:", (), "a"),
    ],
)
def test_the_file_is_the_one_that_kubectl_would_write(
    tmp_path: Path, variable: str, there: tuple[str, ...], chosen: str
) -> None:
    for name in there:
        (tmp_path / name).touch()
    value = ":".join(str(tmp_path / each) if each else "" for each in variable.split(":"))
    assert find_user_file({"KUBECONFIG": value}, tmp_path / "home") == tmp_path / chosen


@pytest.mark.parametrize("content", ["a: [", "- 1\n", "clusters: x\n", "\x00"])
def test_a_file_that_is_no_kubeconfig_is_left_alone(
    home: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / ".kube" / "config"
    path.parent.mkdir()
    path.write_text(content)
    assert run(home, "--merge") == 4
    assert str(path) in capsys.readouterr().err
    assert path.read_text() == content


def test_a_directory_that_nobody_served_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kubeconfig", "--dir", str(tmp_path)]) == 2
    assert "start it with trainlet run --listen" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "server"),
    [
        (("0.0.0.0", 6443), "https://127.0.0.1:6443"),
        (("::", 6443), "https://[::1]:6443"),
        (("::1", 1), "https://[::1]:1"),
        (("box", 443), "https://box:443"),
    ],
)
def test_the_server_is_one_that_can_be_reached(address: tuple[str, int], server: str) -> None:
    kubeconfig = build_kubeconfig(address, "", "", "")
    assert kubeconfig["clusters"][0]["cluster"]["server"] == server

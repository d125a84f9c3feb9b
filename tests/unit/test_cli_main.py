"""The console entry: exit statuses, one line for an error, flags before and after the verb."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainlet.cli import version
from trainlet.cli.main import main
from trainlet.cli.options import add_global_options, add_operator_options, read_settings
from trainlet.kube.errors import ApiError, EngineError, FieldError, TrainletError, UsageError


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Make the verb `version` raise."""

    def set_error(error: BaseException) -> None:
        def run(_: argparse.Namespace) -> int:
            raise error

        monkeypatch.setattr(version, "run", run)

    return set_error


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ApiError("no", where="here", remedy="do that"), 1, "error: no (here): do that\n"),
        (ApiError("no", causes=[FieldError("a.b", "Required value", "")]), 1, "error: no\n  a.b: Required value\n"),
        (UsageError("wrong", remedy="see --help"), 2, "error: wrong: see --help\n"),
        (EngineError("down", where="unix:///x"), 3, "error: down (unix:///x)\n"),
        (TrainletError("disk full", remedy="free some"), 4, "error: disk full: free some\n"),
        (KeyError("x"), 4, "error: KeyError: 'x': run it again with --debug to see where\n"),
        (
            PermissionError(13, "denied", "f"),
            4,
            "error: [Errno 13] denied: 'f': run it again with --debug to see where\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_each_error_has_its_status_and_one_line(raising, capsys, error, status, text) -> None:  # type: ignore[no-untyped-def]
    raising(error)
    assert main(["version"]) == status
    assert capsys.readouterr().err == text


def test_debug_shows_where(raising, capsys) -> None:  # type: ignore[no-untyped-def]
    raising(KeyError("x"))
    assert main(["version", "--debug"]) == 4
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert text.endswith("error: KeyError: 'x'\n")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "the following arguments are required: VERB (trainlet): see trainlet --help"),
        (["fly"], "invalid choice: 'fly'"),
        (["version", "x"], "unrecognized arguments: x (trainlet version): see trainlet version --help"),
        (["version", "--config", "/nonexistent"], ""),
    ],
)
def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str], words: list[str], what: str) -> None:
    if what:
        assert main(words) == 2
        assert what in capsys.readouterr().err
    else:
        assert main(words) == 0


def test_help_is_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--selector" in text
    assert "--status-dir" in text


@pytest.mark.parametrize("verb", ["version", "--help"])
def test_a_closed_pipe_is_no_error(verb: str) -> None:
    code = "import sys; from trainlet.cli.main import main; sys.exit(main())"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code, verb],
        env={"PYTHONPATH": "operator"},
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_global_options(parser)
    add_operator_options(parser)
    return parser.parse_args(words)


def test_settings_come_from_flags_then_environment_then_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("namespace: from-config\nworkers: 7\npull-policy: Never\nruntime-source: [a, b]\n")
    monkeypatch.setenv("TRAINLET_NAMESPACE", "from-environment")
    monkeypatch.setenv("TRAINLET_PULL_POLICY", "Always")
    settings = read_settings(parse("--config", str(config), "-n", "from-flag", "--dir", str(tmp_path)))
    assert (settings.namespace, settings.pull_policy, settings.workers) == ("from-flag", "Always", 7)
    assert settings.runtime_source == ("a", "b")
    assert settings.status_path == tmp_path / "status"


def test_flags_are_made_from_the_settings() -> None:
    settings = read_settings(
        parse("--no-auto-remove", "--runtime-source", "a", "--runtime-source", "b", "--restart-backoff", "1m30s")
    )
    assert settings.auto_remove is False
    assert settings.runtime_source == ("a", "b")
    assert settings.restart_backoff == 90
    assert read_settings(parse()).auto_remove is True


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--workers", "0"], "'0' is not a positive number"),
        (["--pull-policy", "Sometimes"], "'Sometimes' is none of IfNotPresent, Always, Never"),
        (["--network-pool", "x"], "write it like 10.213.0.0/16"),
    ],
)
def test_bad_values_are_explained(capsys: pytest.CaptureFixture[str], words: list[str], what: str) -> None:
    with pytest.raises(SystemExit):
        parse(*words)
    assert what in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--dir", "D", "get", "tj"], ["get", "--dir", "D", "tj"], ["get", "tj", "--dir", "D"]]
)
def test_global_flags_stand_anywhere(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 0
    assert f"{tmp_path}/D/status" in capsys.readouterr().err

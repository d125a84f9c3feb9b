"""What settings make of the API: the names in its certificate, what is warned of, the kubeconfig that is kept."""

import logging
import platform
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from api_desk import STOP_SECONDS, ScriptedWriter
from cluster import find_free_port
from trainlet.documents.status_dir import StatusDir
from trainlet.engine.process import ProcessEngine
from trainlet.loading import build_registry, now
from trainlet.server import operator_api
from trainlet.server.credentials import Identity, load_credentials
from trainlet.server.operator_api import Operator, OperatorApi
from trainlet.settings import Settings, build_settings, parse_flag


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(dir=tmp_path, runtime_source=("builtin",), listen=(f"127.0.0.1:{find_free_port()}",))


def open_api(settings: Settings, root: Path) -> OperatorApi:
    engine = ProcessEngine(root / "processes", {})
    operator = Operator(
        settings,
        build_registry(settings),
        engine,
        StatusDir(settings.status_path),
        bytes(32),
        ScriptedWriter(),
        list,
        list,
        now,
    )
    return OperatorApi(operator)


@pytest.fixture
def api(settings: Settings, tmp_path: Path) -> Iterator[OperatorApi]:
    made = open_api(settings, tmp_path)
    yield made
    made.stop(STOP_SECONDS)


def test_a_kubeconfig_is_kept_for_its_owner_alone(api: OperatorApi, settings: Settings) -> None:
    api.start()
    path = settings.private_path / "kubeconfig"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = yaml.safe_load(path.read_text())
    assert kept["clusters"][0]["cluster"]["server"] == f"https://{settings.listen[0]}"
    assert kept["users"][0]["user"]["token"] == (settings.private_path / "token").read_text().strip()


def test_keys_and_token_are_the_same_after_a_restart(settings: Settings, tmp_path: Path) -> None:
    kept = []
    for _ in range(2):
        api = open_api(settings, tmp_path)
        api.start()
        api.stop(STOP_SECONDS)
        kept.append((settings.private_path / "kubeconfig").read_text())
    assert kept[0] == kept[1]


@pytest.mark.parametrize(
    ("listen", "names"),
    [
        ([("127.0.0.1", 1)], {"localhost", "127.0.0.1", "::1"}),
        ([("localhost", 1), "/run/x.sock"], {"localhost", "127.0.0.1", "::1"}),
        ([("::1", 1)], {"localhost", "127.0.0.1", "::1"}),
        (
            [("0.0.0.0", 1)],
            {"localhost", "127.0.0.1", "::1", platform.node().lower(), "192.0.2.7"},
        ),
        (
            [("Train.Example", 1)],
            {"localhost", "127.0.0.1", "::1", platform.node().lower(), "192.0.2.7", "train.example"},
        ),
    ],
)
def test_the_certificate_has_the_names_that_clients_use(
    listen: list[operator_api.Address], names: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_api, "find_own_address", lambda: "192.0.2.7")
    assert set(operator_api._list_hosts(listen)) == names


def test_other_names_make_another_certificate_of_the_same_authority(tmp_path: Path) -> None:
    first = load_credentials(tmp_path, now(), Identity("api", ("localhost",)))
    data = first.server_file.read_bytes()
    same = load_credentials(tmp_path, now(), Identity("api", ("localhost",)))
    assert same.server_file.read_bytes() == data
    other = load_credentials(tmp_path, now(), Identity("api", ("localhost", "box", "::1")))
    assert other.server_file.read_bytes() != data
    assert other.authority == first.authority
    assert load_credentials(tmp_path, now()).server_file != other.server_file


def test_an_address_that_others_may_reach_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    port, path = find_free_port(), tmp_path / "s" / "api.sock"
    settings = Settings(dir=tmp_path, runtime_source=("builtin",), listen=(f"0.0.0.0:{port}", str(path)))
    api = open_api(settings, tmp_path)
    api.start()
    api.stop(STOP_SECONDS)
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert [each.partition(", ")[0] for each in warnings] == [f"the Kubernetes API listens on https://0.0.0.0:{port}"]
    assert f"the Kubernetes API is at unix://{path}" in caplog.text
    assert not path.exists()


def test_addresses_are_given_one_by_one_or_with_commas() -> None:
    environ = {"TRAINLET_LISTEN": "127.0.0.1:6443,unix:///run/x.sock"}
    assert build_settings({}, environ).listen == ("127.0.0.1:6443", "/run/x.sock")
    assert parse_flag("listen", "6443") == "127.0.0.1:6443"

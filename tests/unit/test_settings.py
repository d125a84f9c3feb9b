"""Flags beat the environment, which beats the config file, which beats defaults: for every option."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from trainlet.kube.errors import UsageError
from trainlet.planning.specs import Ulimit
from trainlet.settings import (
    Settings,
    build_settings,
    get_default_pids_limit,
    get_default_shm_bytes,
    get_surroundings,
    parse_duration,
    parse_flag,
)

OPTIONS = [option.name for option in fields(Settings)]

#: For every option three texts that may be given, and what they mean.
SAMPLES: dict[str, tuple[tuple[str, Any], ...]] = {
    "dir": (("/a", Path("/a")), ("/b", Path("/b")), ("/c", Path("/c"))),
    "status_dir": (("/a", Path("/a")), ("/b", Path("/b")), ("/c", Path("/c"))),
    "workspace_dir": (("/a", Path("/a")), ("/b", Path("/b")), ("/c", Path("/c"))),
    "container_runtime": (("docker", "docker"), ("podman", "podman"), ("process", "process")),
    "container_host": (("unix:///a", "unix:///a"), ("tcp://b:1", "tcp://b:1"), ("ssh://c", "ssh://c")),
    "pull_policy": (("Always", "Always"), ("Never", "Never"), ("IfNotPresent", "IfNotPresent")),
    "auto_remove": (("false", False), ("yes", True), ("0", False)),
    "runtime_source": (("/a", ("/a",)), ("/b,/c", ("/b", "/c")), ("d.yaml", ("d.yaml",))),
    "allow_http_sources": (("true", True), ("no", False), ("1", True)),
    "namespace": (("a", "a"), ("b", "b"), ("c", "c")),
    "workers": (("1", 1), ("2", 2), ("30", 30)),
    "network_pool": (("10.1.0.0/16", "10.1.0.0/16"), ("10.2.0.0/16", "10.2.0.0/16"), ("10.3.0.0/24", "10.3.0.0/24")),
    "restart_backoff": (("1m", 60.0), ("500ms", 0.5), ("2", 2.0)),
    "status": (("inline", "inline"), ("sidecar", "sidecar"), ("inline", "inline")),
    "validation": (("warn", "warn"), ("strict", "strict"), ("ignore", "ignore")),
    "crds": (("/a", Path("/a")), ("/b", Path("/b")), ("/c", Path("/c"))),
    "pod_security": (("restricted", "restricted"), ("privileged", "privileged"), ("baseline", "baseline")),
    "allow_host_path": (("/a", ("/a",)), ("/b,/c/../d", ("/b", "/d")), ("/e", ("/e",))),
    "allow_unsafe_files": (("true", True), ("no", False), ("1", True)),
    "gpus": (("none", "none"), ("2", "2"), ("0,GPU-1,nvidia.com/gpu=3", "0,GPU-1,nvidia.com/gpu=3")),
    "pids_limit": (("1", 1), ("4096", 4096), ("99999", 99999)),
    "ulimit": (
        ("memlock=unlimited", (Ulimit("memlock", -1, -1),)),
        ("nofile=1024:2048,core=0", (Ulimit("nofile", 1024, 2048), Ulimit("core", 0, 0))),
        ("stack=8192:unlimited", (Ulimit("stack", 8192, -1),)),
    ),
    "deletion_grace": (("0", 0.0), ("1m", 60.0), ("5s", 5.0)),
    "initializer_image": (("a:1", "a:1"), ("b", "b"), ("c@sha256:0", "c@sha256:0")),
    "cache_dir": (("/a", Path("/a")), ("/b", Path("/b")), ("/c", Path("/c"))),
    "max_parallel_pulls": (("1", 1), ("2", 2), ("30", 30)),
    "status_port": (("1", 1), ("10443", 10443), ("65535", 65535)),
    "metrics_listen": ((":1", "127.0.0.1:1"), ("/a", "/a"), ("h:3", "h:3")),
    "listen": ((":1", ("127.0.0.1:1",)), ("/a,[::1]:2", ("/a", "::1:2")), ("h:3", ("h:3",))),
    "log_format": (("json", "json"), ("text", "text"), ("json", "json")),
    "log_level": (("debug", "debug"), ("warning", "warning"), ("error", "error")),
}


def build(flags: dict[str, Any] | None = None, environ: dict[str, str] | None = None) -> Settings:
    return build_settings(flags or {}, environ or {})


def write_config(directory: Path, text: str) -> str:
    path = directory / "config.yaml"
    path.write_text(text)
    return str(path)


def test_there_are_samples_of_every_option() -> None:
    assert set(SAMPLES) == set(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_nearest_source_of_an_option_counts(name: str, tmp_path: Path) -> None:
    (flag, flag_value), (variable, variable_value), (key, key_value) = SAMPLES[name]
    config = write_config(tmp_path, f"{name.replace('_', '-')}: '{key}'\n")
    environ = {f"TRAINLET_{name.upper()}": variable}
    parsed = (parse_flag(name, flag),) if isinstance(flag_value, tuple) else parse_flag(name, flag)
    assert getattr(build({"config": config}), name) == key_value
    assert getattr(build({"config": config}, environ), name) == variable_value
    assert getattr(build({"config": config, name: parsed}, environ), name) == flag_value


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "dir"])
def test_what_nobody_gives_is_the_default(name: str) -> None:
    default = next(option.default for option in fields(Settings) if option.name == name)
    assert getattr(build({name: None}), name) == default


def test_directories_default_to_places_in_the_watched_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = build()
    assert (settings.dir, settings.status_path, settings.workspace_path) == (
        tmp_path,
        tmp_path / "status",
        tmp_path / "workspaces",
    )
    elsewhere = build({"dir": Path("jobs"), "status_dir": Path("state"), "workspace_dir": Path("~/work")}, {})
    assert elsewhere.status_path == tmp_path / "state"
    assert elsewhere.workspace_path == Path("~/work").expanduser()


def test_one_directory_is_one_store_however_it_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    spellings = [tmp_path, tmp_path / "link", tmp_path / "x" / ".."]
    assert len({build({"dir": spelling}).store_id for spelling in spellings}) == 1
    assert build({"dir": tmp_path}).store_id != build({"dir": tmp_path, "status_dir": tmp_path / "other"}).store_id


@pytest.mark.parametrize("mapping", ["workers: 7", "workers: '7'", '{"workers": 7}'])
def test_a_config_file_may_hold_yaml_or_json(mapping: str, tmp_path: Path) -> None:
    assert build({"config": write_config(tmp_path, mapping)}).workers == 7


def test_a_config_file_is_found_through_the_environment_and_may_be_empty(tmp_path: Path) -> None:
    config = write_config(tmp_path, "auto_remove: no\nruntime-source: [/a, /b]\n")
    settings = build({}, {"TRAINLET_CONFIG": config})
    assert (settings.auto_remove, settings.runtime_source) == (False, ("/a", "/b"))
    assert build({"config": write_config(tmp_path, "# nothing\n")}) == build()


BAD_VALUES = {
    "container_runtime": ("lxc", "'lxc' is none of docker, podman, process"),
    "pull_policy": ("always", "'always' is none of IfNotPresent, Always, Never"),
    "auto_remove": ("perhaps", "'perhaps' is neither true nor false"),
    "workers": ("0", "'0' is not a positive number"),
    "network_pool": ("10.0.0.1/8", "'10.0.0.1/8' is not an IPv4 network: write it like 10.213.0.0/16"),
    "restart_backoff": ("soon", "'soon' is not a duration: write it like 30s, 10m or 1h30m"),
    "gpus": (
        "0, 1",
        "'0, 1' is no choice of GPUs: write all, none, a number, or a list like 0,2 or nvidia.com/gpu=1",
    ),
    "pids_limit": ("-1", "'-1' is not a positive number"),
    "ulimit": (
        "nofile=2:1",
        "'nofile=2:1' is no limit of processes: write it like memlock=unlimited or nofile=1024:65536",
    ),
    "status": ("both", "'both' is none of sidecar, inline"),
    "metrics_listen": (
        "localhost",
        "'localhost' is no address to listen on: write it like 127.0.0.1:9464 or unix:///run/x.sock",
    ),
    "log_format": ("xml", "'xml' is none of text, json"),
    "log_level": ("loud", "'loud' is none of debug, info, warning, error"),
}


@pytest.mark.parametrize(("name", "text", "message"), [(n, *v) for n, v in BAD_VALUES.items()], ids=BAD_VALUES)
def test_bad_values_are_refused_where_they_stand(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        build({}, {f"TRAINLET_{name.upper()}": text})
    assert str(refusal.value) == f"{message} (TRAINLET_{name.upper()})"
    with pytest.raises(UsageError) as refusal:
        build({"config": write_config(tmp_path, f"{name}: {text}")})
    assert str(refusal.value) == f"{message} (config key {name})"
    with pytest.raises(ValueError, match=r".") as error:
        parse_flag(name, text)
    assert str(error.value) == message


BAD_CONFIGS = {
    "no YAML": ("a: [", "cannot read the config file: "),
    "a list": ("- a\n", "the config file is not a mapping"),
    "an unknown key": ("workers: 1\nworker: 2\n", "unknown key 'worker'"),
    "not text": ("\udcff", "cannot read the config file: "),
}


@pytest.mark.parametrize(("text", "message"), BAD_CONFIGS.values(), ids=BAD_CONFIGS)
def test_bad_config_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageError) as refusal:
        build({"config": str(path)})
    assert str(refusal.value).startswith(message)
    assert str(path) in str(refusal.value)


def test_a_config_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No such file or directory: .*: give another$"):
        build({"config": str(tmp_path / "none.yaml")})


DURATIONS = {
    "0": 0,
    "5": 5,
    "1.5": 1.5,
    "250ms": 0.25,
    "90s": 90,
    "10m": 600,
    "1h30m": 5400,
    "1.5h": 5400,
    "2d": 172800,
    "1m0.5s": 60.5,
}


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items(), ids=DURATIONS)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 s", "1x", "1s ", "1,5s", ".5s", "1e3", "inf", "nan", "1m\n"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_the_machine_is_described(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert get_surroundings().state_dir == tmp_path / "trainlet"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get_surroundings().state_dir == tmp_path / ".local" / "state" / "trainlet"
    assert get_default_shm_bytes() > 1 << 26


@pytest.mark.parametrize(
    "text", ["", "nofile", "nofile=", "nofile=-1", "nofile=1:", "files=1", "core=1:0", "core=unlimited:1", "core=٣"]
)
def test_what_is_no_limit_of_processes(text: str) -> None:
    with pytest.raises(ValueError, match="is no limit of processes"):
        parse_flag("ulimit", text)


def test_a_container_cannot_have_all_processes_of_the_machine() -> None:
    assert 0 < get_default_pids_limit() <= int(Path("/proc/sys/kernel/pid_max").read_text()) // 2

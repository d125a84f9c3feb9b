"""Settings: one table of options, read from flags, then the environment, then a config file, then defaults.

The only reader of os.environ. Every option is a flag `--name`, a variable `TRAINLET_NAME` and a key `name`
of the config file. A dataclass, not a pydantic model, because `trainlet get` must not wait for that import.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainlet.kube.digests import hash_text
from trainlet.kube.errors import UsageError

if TYPE_CHECKING:
    from trainlet.engine.detect import Surroundings
    from trainlet.planning.specs import Ulimit
    from trainlet.runtime_sources.address import GitHub

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TOKENS = ("TRAINLET_GITHUB_TOKEN", "GITHUB_TOKEN")
_DURATION_TEXT = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d)?)+")
#: The names that Docker and Podman know.
_ULIMIT = re.compile(
    r"(as|core|cpu|data|fsize|locks|memlock|msgqueue|nice|nofile|nproc|rss|rtprio|rttime|sigpending|stack)"
    r"=(unlimited|[0-9]{1,18})(?::(unlimited|[0-9]{1,18}))?"
)
_GPUS = re.compile(r"[A-Za-z0-9_.:/=-]+(,[A-Za-z0-9_.:/=-]+)*")
_MOST_PIDS = 32768


def parse_duration(text: str) -> float:
    """Return seconds of a Go-like duration (`90s`, `1m30s`, `1.5h`); a bare number is seconds. Raises ValueError."""
    if not _DURATION_TEXT.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration: write it like 30s, 10m or 1h30m")
    return sum(float(number) * _UNITS[unit or "s"] for number, unit in _DURATION.findall(text))


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"{text!r} is none of {', '.join(allowed)}")
        return text

    return parse


def _parse_bool(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise ValueError(f"{text!r} is neither true nor false")
    return words[text.lower()]


def _parse_pool(text: str) -> str:
    from ipaddress import IPv4Network  # what is not given costs no verb its import

    try:
        return str(IPv4Network(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 network: write it like 10.213.0.0/16") from None


def _parse_count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{text!r} is not a positive number")
    return int(text)


def _parse_port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise ValueError(f"{text!r} is not a port")
    return int(text)


def _parse_listen(text: str) -> str:
    """Return HOST:PORT, or the absolute path of a unix socket."""
    path = text.removeprefix("unix://")
    if path.startswith("/"):
        return path
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(f"{text!r} is no address to listen on: write it like 127.0.0.1:9464 or unix:///run/x.sock")
    return f"{host.strip('[]') or '127.0.0.1'}:{port}"


def _parse_ulimit(text: str) -> "Ulimit":
    from trainlet.planning.specs import Ulimit  # as above

    match = _ULIMIT.fullmatch(text)
    name, soft, hard = match.groups() if match else ("", "1", "0")
    limit = Ulimit(name, *(-1 if each == "unlimited" else int(each) for each in (soft, hard or soft)))
    if limit.hard != -1 and not 0 <= limit.soft <= limit.hard:
        raise ValueError(f"{text!r} is no limit of processes: write it like memlock=unlimited or nofile=1024:65536")
    return limit


def _parse_gpus(text: str) -> str:
    if not _GPUS.fullmatch(text):
        raise ValueError(
            f"{text!r} is no choice of GPUs: write all, none, a number, or a list like 0,2 or nvidia.com/gpu=1"
        )
    return text


def _parse_root(text: str) -> str:
    if not Path(text).is_absolute():
        raise ValueError(f"{text!r} is not an absolute directory: write it like /data")
    # Resolved once, so that a link on the way to it is the owner's word and not a container's.
    return str(Path(text).resolve())


def _option(
    parse: Callable[[str], Any], default: Any, help: str, metavar: str = "", *, repeatable: bool = False
) -> Any:
    notes = {"parse": parse, "help": help, "metavar": metavar, "repeatable": repeatable}
    return field(default=default, metadata=notes)


@dataclass(frozen=True)
class Settings:
    """The operator's settings. Directories are absolute; durations seconds."""

    dir: Path = _option(Path, Path(), "the watched directory", "DIR")
    status_dir: Path | None = _option(Path, None, "where status documents go (default: DIR/status)", "DIR")
    workspace_dir: Path | None = _option(Path, None, "where jobs' workspaces go (default: DIR/workspaces)", "DIR")
    container_runtime: str | None = _option(
        _choice("docker", "podman", "process"),
        None,
        "docker, podman or process (default: what answers, Docker first)",
        "NAME",
    )
    container_host: str | None = _option(str, None, "the engine's address: unix://, tcp:// or ssh://", "URL")
    pull_policy: str = _option(
        _choice("IfNotPresent", "Always", "Never"), "IfNotPresent", "IfNotPresent, Always or Never", "POLICY"
    )
    max_parallel_pulls: int = _option(_parse_count, 3, "how many images are fetched at once", "N")
    auto_remove: bool = _option(_parse_bool, True, "remove containers and network when a job is finished")
    runtime_source: tuple[str, ...] = _option(
        str,
        (),
        "where runtimes are: github://, https://, file://, a path or builtin (repeatable, the first counts most; "
        "default: github://kubeflow/trainer)",
        "URL",
        repeatable=True,
    )
    allow_http_sources: bool = _option(
        _parse_bool, False, "take runtimes from http:// sources, which anybody on the way could change"
    )
    namespace: str = _option(str, "default", "the namespace of files that name none", "NS")
    workers: int = _option(_parse_count, 4, "how many jobs are worked on at once", "N")
    network_pool: str = _option(_parse_pool, "10.213.0.0/16", "where jobs' subnets are taken from", "CIDR")
    restart_backoff: float = _option(
        parse_duration, 1.0, "the second restart's delay; doubled from then on", "DURATION"
    )
    status: str = _option(
        _choice("sidecar", "inline"), "sidecar", "inline: also splice status into the manifests", "MODE"
    )
    validation: str = _option(
        _choice("strict", "warn", "ignore"), "strict", "fields that no definition names: strict refuses them", "MODE"
    )
    crds: Path | None = _option(Path, None, "custom resource definitions to judge by, instead of our own", "DIR")
    pod_security: str = _option(
        _choice("privileged", "baseline", "restricted"), "baseline", "the Pod Security Standard that pods keep", "LEVEL"
    )
    allow_host_path: tuple[str, ...] = _option(
        _parse_root, (), "a directory that hostPath volumes may be in (repeatable)", "DIR", repeatable=True
    )
    allow_unsafe_files: bool = _option(
        _parse_bool, False, "take files that others may write, and links that lead out of the directory"
    )
    gpus: str = _option(
        _parse_gpus,
        "all",
        "which GPUs jobs may have: all, none, how many of a kind, or a list of numbers, uuids or CDI names",
        "WHICH",
    )
    pids_limit: int | None = _option(
        _parse_count, None, "processes and threads of a container (default: half of the machine's, 32768 at most)", "N"
    )
    ulimit: "tuple[Ulimit, ...]" = _option(
        _parse_ulimit,
        (),
        "a limit of every process, like memlock=unlimited (repeatable)",
        "NAME=SOFT[:HARD]",
        repeatable=True,
    )
    deletion_grace: float = _option(
        parse_duration, 30.0, "how long the loss of most manifests at once is held", "DURATION"
    )
    initializer_image: str = _option(
        str, "docker.io/library/python:3.12-slim", "what fetches https:// and file:// data; it needs python3", "IMAGE"
    )
    cache_dir: Path | None = _option(Path, None, "where fetched data is kept (default: ~/.cache/trainlet)", "DIR")
    status_port: int | None = _option(
        _parse_port, None, "serve what training code reports of its progress, on this port", "PORT"
    )
    metrics_listen: str | None = _option(
        _parse_listen, None, "serve /metrics, /healthz and /readyz on HOST:PORT or unix:///PATH", "ADDRESS"
    )
    listen: tuple[str, ...] = _option(
        _parse_listen,
        (),
        "serve the Kubernetes API on HOST:PORT or unix:///PATH (repeatable)",
        "ADDRESS",
        repeatable=True,
    )
    log_format: str = _option(_choice("text", "json"), "text", "text or json", "FORMAT")
    log_level: str = _option(
        _choice("debug", "info", "warning", "error"), "info", "debug, info, warning or error", "LEVEL"
    )

    @property
    def status_path(self) -> Path:
        """Where status documents are."""
        return self.status_dir or self.dir / "status"

    @property
    def workspace_path(self) -> Path:
        """Where workspaces are."""
        return self.workspace_dir or self.dir / "workspaces"

    @property
    def private_path(self) -> Path:
        """Where keys and secrets are."""
        return self.status_path / ".private"

    @property
    def cache_path(self) -> Path:
        """Where what initializers and runtime sources fetch is kept."""
        return self.cache_dir or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trainlet"

    @property
    def store_id(self) -> str:
        """What containers of this status directory are labelled with; the same after a loss of its content."""
        return hash_text(str(self.status_path))[:12]


def get_environ() -> Mapping[str, str]:
    """Return this process's environment."""
    return os.environ


def get_surroundings() -> "Surroundings":
    """Return this process's surroundings."""
    from trainlet.engine.detect import Surroundings  # only verbs that use an engine need it

    environ = dict(os.environ)
    home = Path.home()
    state_home = Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state")
    return Surroundings(environ, home, os.getuid(), os.uname().sysname, state_home / "trainlet")


def get_github() -> "GitHub":
    """Return where GitHub is, and the token to ask it with: a variable only, for all may read a command line."""
    from trainlet.runtime_sources.address import GitHub  # only what loads runtimes needs it

    names = {"api": ("TRAINLET_GITHUB_API",), "raw": ("TRAINLET_GITHUB_RAW",), "token": _TOKENS}
    found = {
        name: next((os.environ[v] for v in variables if os.environ.get(v)), "") for name, variables in names.items()
    }
    return GitHub(**{name: text.rstrip("/") for name, text in found.items() if text})


def get_capacity() -> dict[str, float]:
    """Return what the machine has: cores, and bytes of memory, by Kubernetes' names."""
    return {
        "cpu": float(os.cpu_count() or 1),
        "memory": float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
    }


def get_default_shm_bytes() -> int:
    """Return half of the machine's memory, what Linux gives a tmpfs by default."""
    return int(get_capacity()["memory"]) // 2


def get_default_pids_limit() -> int:
    """Return how many processes and threads one container may have by default.

    A kubelet and Docker set no limit, and Podman 2048, which a node with many GPUs and data loaders needs for itself.
    This is far more, and yet no container can take the last one of the machine.
    """
    try:
        most = int(Path("/proc/sys/kernel/pid_max").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return _MOST_PIDS
    return min(most // 2, _MOST_PIDS)


def build_settings(flags: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings; `flags` holds parsed command-line values, None for those not given. Raises UsageError."""
    environ = os.environ if environ is None else environ
    config = _read_config(flags.get("config") or environ.get("TRAINLET_CONFIG"))
    values: dict[str, Any] = {}
    for option in fields(Settings):
        if flags.get(option.name) is not None:
            values[option.name] = flags[option.name]
        elif (variable := f"TRAINLET_{option.name.upper()}") in environ:
            values[option.name] = _parse(option, environ[variable], variable)
        elif option.name in config:
            values[option.name] = _parse_config(option, config[option.name])
    for name in ("dir", "status_dir", "workspace_dir", "cache_dir", "crds"):
        if values.get(name) is not None or name == "dir":
            # Resolved, so that one directory is one store however it is spelled.
            values[name] = Path(values.get(name) or Path()).expanduser().resolve()
    return Settings(**values)


def parse_flag(name: str, text: str) -> Any:
    """Return the value of one flag. Raises ValueError."""
    option = next(option for option in fields(Settings) if option.name == name)
    return option.metadata["parse"](text)


def _parse(option: Any, text: str, where: str) -> Any:
    try:
        if option.metadata["repeatable"]:
            return tuple(option.metadata["parse"](part) for part in text.split(",") if part)
        return option.metadata["parse"](text)
    except ValueError as error:
        raise UsageError(str(error), where=where) from None


def _parse_config(option: Any, value: Any) -> Any:
    where = f"config key {option.name}"
    if option.metadata["repeatable"] and isinstance(value, list):
        return tuple(_parse(option, str(item), where)[0] for item in value)
    return _parse(option, str(value), where)


def _read_config(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    import yaml  # only when there is a config file

    try:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read the config file: {error}", where=path, remedy="give another") from None
    if not isinstance(config, dict):
        raise UsageError("the config file is not a mapping", where=path, remedy="write one key: value a line")
    config = {str(key).replace("-", "_"): value for key, value in config.items()}
    unknown = sorted(set(config) - {option.name for option in fields(Settings)})
    if unknown:
        raise UsageError(f"unknown key {unknown[0]!r}", where=path, remedy="see trainlet run --help for the names")
    return config

"""The files for supervisors: sections and keys that they know, and no path that means two things."""

import re
import shlex
from collections import defaultdict
from pathlib import Path

import pytest

from trainlet.cli.main import build_parser
from trainlet.package_data import data_dir

OPERATE = Path(str(data_dir("manifests"))) / "operate"
SERVICES = ("trainlet.service", "trainlet-user.service")
UNITS = (*SERVICES, "trainlet.container")

#: What systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.kill(5) and podman-systemd.unit(5) know, of that
#: what a unit of ours may want.
KNOWN = {
    "Unit": {"Description", "Documentation", "Wants", "Requires", "After", "StartLimitIntervalSec"},
    "Service": {
        *("Type", "NotifyAccess", "ExecStart", "ExecStartPre", "Environment", "EnvironmentFile", "KillMode"),
        *("TimeoutStartSec", "TimeoutStopSec", "WatchdogSec", "Restart", "RestartSec", "RestartPreventExitStatus"),
        *("StateDirectory", "RuntimeDirectory", "NoNewPrivileges", "ProtectKernelModules", "ProtectClock"),
        *("RestrictRealtime", "LockPersonality"),
    },
    "Container": {
        *("Image", "ContainerName", "Exec", "Volume", "Environment", "UserNS", "Network", "PodmanArgs", "Notify"),
        *("SecurityLabelDisable", "NoNewPrivileges", "ReadOnly"),
    },
    "Install": {"WantedBy"},
}
ONCE = {"Type", "KillMode", "ExecStart", "Exec", "Restart", "Image"}

Unit = dict[str, dict[str, list[str]]]


def parse_unit(name: str) -> Unit:
    """Read a unit file. Fails for a line that is neither a section, a key with its value, nor a comment."""
    sections: Unit = {}
    for line in (OPERATE / name).read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if match := re.fullmatch(r"\[(\w+)\]", line):
            assert match[1] not in sections
            sections[match[1]] = defaultdict(list)
        else:
            key, equals, value = line.partition("=")
            assert equals, line
            assert value, line
            list(sections.values())[-1][key].append(value)
    return sections


@pytest.mark.parametrize("name", UNITS)
def test_sections_and_keys_are_known(name: str) -> None:
    for section, keys in parse_unit(name).items():
        assert keys.keys() <= KNOWN[section]
        assert all(len(values) == 1 for key, values in keys.items() if key in ONCE)


@pytest.mark.parametrize("name", UNITS)
def test_it_always_comes_back_and_jobs_survive(name: str) -> None:
    service = parse_unit(name)["Service"]
    assert service["Restart"] == ["always"]
    assert service["RestartPreventExitStatus"] == ["2"], "wrong usage does not mend itself"
    if name in SERVICES:
        assert (service["KillMode"], service["Type"]) == (["process"], ["notify"])


@pytest.mark.parametrize("name", UNITS)
def test_the_command_is_one_that_trainlet_takes(name: str) -> None:
    unit = parse_unit(name)
    words = shlex.split((unit["Container"]["Exec"] if "Container" in unit else unit["Service"]["ExecStart"])[0])
    verb = words[words.index("run") :]
    args = build_parser(verb[:1]).parse_args(verb)
    assert args.directory.split("/")[-1] in ("jobs", "trainjobs")


def test_paths_are_the_same_inside_and_outside_of_a_container() -> None:
    container = parse_unit("trainlet.container")["Container"]
    for volume in container["Volume"]:
        outside, inside = volume.split(":")
        assert outside == inside
    mounted = {volume.partition(":")[0] for volume in container["Volume"]}
    words = shlex.split(container["Exec"][0])
    assert {words[1], words[words.index("--container-host") + 1].removeprefix("unix://")} <= mounted


def test_the_image_runs_trainlet() -> None:
    lines = (OPERATE / "Containerfile").read_text(encoding="utf-8").splitlines()
    steps = [line.split()[0] for line in lines if line and not line.startswith("#")]
    assert (steps[0], set(steps)) == ("FROM", {"FROM", "COPY", "RUN", "ENV", "ENTRYPOINT", "CMD"})
    assert 'ENTRYPOINT ["trainlet"]' in lines

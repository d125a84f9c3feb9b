"""`trainlet doctor` as a whole: every known trouble has a check, every problem a remedy, and this machine's own."""

import json
import re
from pathlib import Path

import pytest

from manifests import Desk
from trainlet.doctor.checks import CHECKS, examine
from trainlet.doctor.machine import Finding
from trees import FAIL, OK, OWN_PODMAN, StillEngine, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


#: What the Docker and Podman guides list as trouble, and the check that finds it.
TROUBLES = {
    "Docker Daemon Not Running": "sockets",
    "Permission Denied (docker group)": "sockets",
    "GPU Not Available in Container (Docker)": "gpu",
    "Containers Not Removed": "leftovers",
    "Network Conflicts": "name conflicts",
    "Podman Service Not Running (macOS)": "sockets",
    "Socket Not Found (Linux)": "podman service",
    "Permission Denied (Rootless): user namespaces": "user namespaces",
    "Permission Denied (Rootless): subuid and subgid": "subordinate ids",
    "DNS Resolution Issues": "container dns",
    "GPU Not Available (Podman)": "gpu",
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_every_known_trouble_has_a_check(trouble: str) -> None:
    assert TROUBLES[trouble] in CHECKS


def test_a_check_that_cannot_be_made_does_not_stop_the_others(tree: Tree) -> None:
    found = list(examine(tree.look(StillEngine(is_down=True))))
    assert ("engine", Finding(FAIL, "this cannot be checked: docker cannot be reached", "start it")) in found
    assert "leftovers" in dict(found)


def test_everything_but_good_news_has_a_remedy(tree: Tree) -> None:
    for machine in (tree.look(complaint="none"), tree.look(StillEngine("podman", OWN_PODMAN), uid=1000)):
        assert all(finding.remedy for _, finding in examine(machine) if finding.level is not OK)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Desk(tmp_path, capsys, monkeypatch)


def test_this_machine_can_be_examined(desk: Desk) -> None:
    status = desk.run("doctor", "--container-runtime", "process", "-o", "json")
    found = json.loads(desk.stdout)
    assert status == int(any(each["level"] == "FAIL" for each in found))
    assert all(set(each) == {"check", "level", "message", "remedy"} for each in found)
    assert {"engine", "disk", "directory", "operator", "leftovers"} <= {each["check"] for each in found}


def test_people_see_a_remedy_below_its_problem(desk: Desk) -> None:
    missing = desk.out / "absent"
    assert desk.run("doctor", "--container-runtime", "process", "--dir", str(missing)) == 1
    problem = re.search(r"^FAIL +directory +there is no directory .*/absent\n +-> make it", desk.stdout, re.MULTILINE)
    assert problem, desk.stdout


def test_without_an_engine_it_fails_and_says_what_helps(desk: Desk) -> None:
    assert desk.run("doctor", "--container-host", f"unix://{desk.out}/no.sock") == 1
    assert desk.stdout.startswith("FAIL  engine")
    assert "--container-runtime process" in desk.stdout

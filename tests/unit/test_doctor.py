"""`trainlet doctor` as a whole: every known trouble has a check, every problem a remedy, and this machine's own."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from manifests import Desk
from trainlet.doctor.asking import fetch
from trainlet.doctor.checks import CHECKS, examine
from trainlet.doctor.machine import Finding, Machine, fail, ok
from trees import FAIL, OK, OWN_PODMAN, StillEngine, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_a_check_that_cannot_be_made_does_not_stop_the_others(tree: Tree) -> None:
    found = list(examine(tree.look(StillEngine(is_down=True))))
    assert ("engine", Finding(FAIL, "this cannot be checked: docker cannot be reached", "start it")) in found
    assert "leftovers" in dict(found)


def break_check(_: Machine) -> Iterator[Finding]:
    """Stand for a check with a bug."""
    yield ok("so far so good")
    raise KeyError("no such key")


def test_a_bug_in_a_check_is_its_own_failed_line(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHECKS, "gpu", break_check)
    found = list(examine(tree.look(StillEngine())))
    bug = fail("this cannot be checked: KeyError: 'no such key'", "this is a bug of trainlet: report it")
    assert [finding for name, finding in found if name == "gpu"] == [ok("so far so good"), bug]
    assert "leftovers" in dict(found)


def test_a_check_that_hangs_is_told_after_a_while(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    going_on = threading.Event()

    def hang(_: Machine) -> Iterator[Finding]:
        going_on.wait(60)
        yield ok("at last")

    monkeypatch.setitem(CHECKS, "disk", hang)
    try:
        found = dict(examine(tree.look(StillEngine()), timeout_seconds=1))
    finally:
        going_on.set()
    assert found["disk"].message == "this cannot be checked: it takes too long"
    assert found["leftovers"].level is OK


def test_what_cannot_be_read_is_named(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(machine: Machine) -> Iterator[Finding]:
        yield ok(machine.path("/absent").read_text())

    monkeypatch.setitem(CHECKS, "disk", read)
    finding = dict(examine(tree.look(StillEngine())))["disk"]
    assert finding.message == f"this cannot be checked: No such file or directory ({tree.root}/absent)"


@pytest.fixture
def api() -> Iterator[tuple[str, dict[str, Any]]]:
    """An API that answers what it is given for a path, and its URL."""
    known: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = known.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body or {}).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", known
        server.shutdown()
        thread.join()


def test_an_engine_is_asked_over_its_api(tree: Tree, api: tuple[str, dict[str, Any]]) -> None:
    url, known = api
    known["/networks/a%20b?all=true&filters=%7B%22label%22%3A%20%5B%22x%22%5D%7D"] = [{"Name": "a"}]
    known["/info?all=true&filters=%7B%7D"] = {"MemTotal": 5}
    machine = tree.look(StillEngine(endpoint=url), fetch=fetch)
    assert machine.ask("/networks/a b", label="x") == [{"Name": "a"}]
    assert machine.ask("/networks/other") is None
    assert machine.info == {"MemTotal": 5}
    known["/info?all=true&filters=%7B%7D"] = b"no json"
    assert tree.look(StillEngine(endpoint=url), fetch=fetch).info == {}


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

"""Sentences that hold for every pod: of the levels, of what may be added to a pod, and of where a hostPath leads."""

import posixpath
from pathlib import PurePosixPath
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from trainlet.admission.security import LEVELS, find_violations
from trainlet.kube.merge import find
from trainlet.kube.meta import JSON

ROOTS = ("/data", "/home/ü/träning")
CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
APPARMOR = "container.apparmor.security.beta.kubernetes.io/a"
Path = tuple[str, ...]

#: Fields, with values that baseline allows and values that it does not.
POD_FIELDS: dict[Path, tuple[list[Any], list[Any]]] = {
    ("hostNetwork",): ([False], [True]),
    ("hostPID",): ([False], [True]),
    ("hostIPC",): ([False], [True]),
    ("hostUsers",): ([True, False], []),
    ("securityContext", "sysctls"): ([[], [{"name": "net.ipv4.tcp_rmem"}]], [[{"name": "kernel.msgmax"}]]),
    ("volumes",): (
        [[{"name": "v", "emptyDir": {}}], [{"name": "v", "hostPath": {"path": "/data/x"}}], [{"name": "v", "nfs": {}}]],
        [[{"name": "v", "hostPath": {"path": path}}] for path in ("/etc", "/run", "/data/../etc")],
    ),
}
SHARED_FIELDS: dict[Path, tuple[list[Any], list[Any]]] = {
    ("securityContext", "runAsNonRoot"): ([True, False], []),
    ("securityContext", "runAsUser"): ([0, 1000], []),
    ("securityContext", "seccompProfile"): (
        [{"type": "RuntimeDefault"}, {"type": "Localhost", "localhostProfile": "x"}],
        [{"type": "Unconfined"}],
    ),
    ("securityContext", "appArmorProfile", "type"): (["RuntimeDefault", "Localhost"], ["Unconfined"]),
    ("securityContext", "seLinuxOptions", "type"): (["", "container_t"], ["spc_t"]),
    ("securityContext", "seLinuxOptions", "user"): ([""], ["u"]),
    ("securityContext", "seLinuxOptions", "role"): ([""], ["r"]),
    ("securityContext", "windowsOptions", "hostProcess"): ([False], [True]),
}
CONTAINER_FIELDS: dict[Path, tuple[list[Any], list[Any]]] = {
    **SHARED_FIELDS,
    ("securityContext", "privileged"): ([False], [True]),
    ("securityContext", "allowPrivilegeEscalation"): ([True, False], []),
    ("securityContext", "procMount"): (["Default"], ["Unmasked"]),
    ("securityContext", "capabilities", "add"): ([[], ["CHOWN"], ["NET_BIND_SERVICE"]], [["KILL", "SYS_ADMIN"]]),
    ("securityContext", "capabilities", "drop"): ([[], ["ALL"], ["KILL"]], []),
    ("ports",): ([[{"containerPort": 1}], [{"hostPort": 0}]], [[{"hostPort": 1}, {"hostPort": 2}]]),
    ("livenessProbe", "tcpSocket", "host"): ([""], ["127.0.0.1"]),
    ("lifecycle", "preStop", "httpGet", "host"): ([""], ["h"]),
}
POD_FIELDS = {**POD_FIELDS, **SHARED_FIELDS}
#: Those of the above that the restricted level allows whatever else a pod says.
ALLOWED_EVERYWHERE: dict[Path, list[Any]] = {
    ("securityContext", "runAsNonRoot"): [True],
    ("securityContext", "runAsUser"): [1000],
    ("securityContext", "allowPrivilegeEscalation"): [False],
    ("securityContext", "capabilities", "add"): [[], ["NET_BIND_SERVICE"]],
    ("securityContext", "capabilities", "drop"): [["ALL"]],
    ("volumes",): [[{"name": "v", "emptyDir": {}}], [{"name": "v"}]],
}


def put_field(owner: JSON, path: Path, value: Any) -> JSON:
    """Return the owner with the value at this path."""
    head, *rest = path
    return {**owner, head: put_field(owner.get(head) or {}, tuple(rest), value) if rest else value}


@st.composite
def owners(draw: st.DrawFn, fields: dict[Path, tuple[list[Any], list[Any]]], name: str = "") -> JSON:
    """A pod or a container with some of these fields."""
    owner: JSON = {"name": name} if name else {}
    for path in draw(st.lists(st.sampled_from(sorted(fields)), unique=True, max_size=6)):
        allowed, refused = fields[path]
        owner = put_field(owner, path, draw(st.sampled_from([*allowed, *refused])))
    return owner


@st.composite
def pods(draw: st.DrawFn) -> JSON:
    """A pod with up to two containers of each kind."""
    pod = draw(owners(POD_FIELDS))
    for kind in CONTAINER_LISTS:
        pod[kind] = draw(st.lists(owners(CONTAINER_FIELDS, "c"), max_size=2))
    return pod


def judge(pod: JSON, level: str, annotations: JSON | None = None) -> set[str]:
    """Return the paths of the fields that are refused."""
    template = {"metadata": {"annotations": annotations or {}}, "spec": pod}
    jobset = {"spec": {"replicatedJobs": [{"template": {"spec": {"template": template}}}]}}
    paths = [error.path for error in find_violations(jobset, level, ROOTS)]
    assert len(paths) == len(set(paths)), "a field is refused twice"
    return set(paths)


ANNOTATIONS = st.dictionaries(st.just(APPARMOR), st.sampled_from(["", "runtime/default", "unconfined", "localhost/x"]))


@given(pods(), ANNOTATIONS)
def test_what_a_level_refuses_the_next_one_refuses_too(pod: JSON, annotations: JSON) -> None:
    privileged, baseline, restricted = (judge(pod, level, annotations) for level in LEVELS)
    assert privileged <= baseline <= restricted


@given(pods(), ANNOTATIONS)
def test_privileged_refuses_nothing_but_volumes_of_the_machine(pod: JSON, annotations: JSON) -> None:
    kinds = {path.rpartition(".")[2] for path in judge(pod, "privileged", annotations)}
    assert kinds <= {"hostPath"}


@given(
    st.fixed_dictionaries(
        {
            kind: st.lists(
                st.fixed_dictionaries(
                    {"name": st.text(), "image": st.text(), "command": st.lists(st.text()), "env": st.just([])}
                )
            )
            for kind in CONTAINER_LISTS
        },
        optional={
            "restartPolicy": st.text(),
            "securityContext": st.none() | st.just({}),
            "volumes": st.none() | st.just([]),
        },
    ),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5)),
)
def test_a_pod_without_security_fields_and_volumes_keeps_the_baseline(pod: JSON, annotations: JSON) -> None:
    assert judge(pod, "baseline", annotations) == set()


@given(pods(), st.data())
def test_a_field_that_is_allowed_adds_no_violation(pod: JSON, data: st.DataObject) -> None:
    """And takes away none but of its own field, and of what containers have from their pod."""
    level = data.draw(st.sampled_from(LEVELS))
    kind = data.draw(st.sampled_from(["", *(each for each in CONTAINER_LISTS if pod[each])]))
    fields = CONTAINER_FIELDS if kind else POD_FIELDS
    path = data.draw(st.sampled_from(sorted(fields)))
    allowed = ALLOWED_EVERYWHERE.get(path, fields[path][0]) if level == "restricted" else fields[path][0]
    value = data.draw(st.sampled_from(allowed))
    owner = pod[kind][0] if kind else pod
    # An absent field is added; one that is there would be replaced, and what comes of that is another sentence.
    changed = put_field(owner, path, value) if find(owner, *path) is None else owner
    after = {**pod, kind: [changed, *pod[kind][1:]]} if kind else changed
    assert judge(after, level) <= judge(pod, level)


# Where a hostPath leads

NAMES = st.sampled_from(
    ["..", ".", "", "...", "data", "home", "ü", "träning", "..data", "x", "\0", "run", "docker.sock"]
)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
PATHS = st.builds(
    lambda start, names: start + "/".join(names),
    st.sampled_from(["", "/", "//", "/data/", "/data", "/home/ü/träning/", "/data/../", "/home/ü/träning"]),
    st.lists(NAMES | TEXTS, max_size=6),
)


def is_accepted(path: str, level: str, *roots: str) -> bool:
    pod = {"volumes": [{"name": "v", "hostPath": {"path": path}}]}
    jobset = {"spec": {"replicatedJobs": [{"template": {"spec": {"template": {"spec": pod}}}}]}}
    return find_violations(jobset, level, roots) == []


def resolve(path: str) -> PurePosixPath:
    """Where the path leads in a tree without links."""
    return PurePosixPath("/" + posixpath.normpath(path).lstrip("/"))


@example("/data/../etc", "baseline")
@example("/data/..", "baseline")
@example("/database", "privileged")
@example("/data/\0", "privileged")
@given(PATHS, st.sampled_from(LEVELS))
def test_no_path_outside_the_roots_is_accepted(path: str, level: str) -> None:
    if not is_accepted(path, level, *ROOTS):
        return
    assert level != "restricted"
    assert path.startswith("/")
    assert "\0" not in path
    assert any(resolve(path).is_relative_to(root) for root in ROOTS)


@given(st.sampled_from(ROOTS), st.lists(st.text("abü. -:", min_size=1, max_size=4), max_size=4))
def test_a_plain_path_below_a_root_is_accepted(root: str, names: list[str]) -> None:
    path = "/".join([root, *(f"{name}_" for name in names)])
    assert is_accepted(path, "baseline", *ROOTS)
    assert is_accepted(path, "privileged", *ROOTS)


@given(PATHS, st.sampled_from(LEVELS))
def test_no_socket_of_an_engine_is_accepted_even_below_the_widest_root(path: str, level: str) -> None:
    if is_accepted(path, level, "/", "//", path):
        place = resolve(path)
        assert place.name != "docker.sock"
        assert not PurePosixPath("/var/run/docker.sock").is_relative_to(place)
        assert not PurePosixPath("/run/user/1000/podman/podman.sock").is_relative_to(place)


@given(PATHS, st.lists(PATHS, max_size=3))
def test_a_root_that_is_not_plain_allows_nothing_that_another_does_not(path: str, roots: list[str]) -> None:
    plain = [root for root in roots if root.startswith("/") and ".." not in root.split("/") and "\0" not in root]
    assert is_accepted(path, "baseline", *roots) == is_accepted(path, "baseline", *plain)

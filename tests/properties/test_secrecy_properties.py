"""Sentences about Secrets: whatever a value is and wherever it goes, nobody but its container sees it.

Mostly said by two jobs that differ in the value alone: where all else is the same, nothing tells of it, not even a
digest.
"""

import base64
import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import NOW, build_job
from stage import Stage, build_secret, set_stage
from trainlet.kube.meta import JSON
from trainlet.planning.labels import SANDBOX
from trainlet.planning.objects import ConfigError
from trainlet.planning.options import Options
from trainlet.planning.plan import CreateContainer, render_plan
from trainlet.planning.preview import Preview, build_preview
from worlds import SANDBOX_IMAGE

#: What is in every secret value of these tests and in nothing else.
MARK = "5ecre7"
VALUES = st.text(max_size=40).map(lambda text: f"{MARK}{text}")
ENV: JSON = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "token"}}}
VOLUMES: list[JSON] = [
    {"name": "s", "secret": {"secretName": "s"}},
    {"name": "p", "projected": {"sources": [{"secret": {"name": "s", "items": [{"key": "token", "path": "t"}]}}]}},
]
#: Where a container may have a value from, and where that may go on to.
USES: dict[str, JSON] = {
    "env": {"env": [ENV, {"name": "URL", "value": "https://me:$(TOKEN)@host"}]},
    "envFrom": {"envFrom": [{"prefix": "P_", "secretRef": {"name": "s"}}], "command": ["run", "$(P_token)"]},
    "args": {"env": [ENV], "args": ["--token=$(TOKEN)"]},
    "files": {"volumeMounts": [{"name": "s", "mountPath": "/s"}, {"name": "p", "mountPath": "/p"}]},
}


@st.composite
def containers(draw: st.DrawFn) -> JSON:
    """A container that uses a Secret in some of the ways there are."""
    container: dict[str, Any] = {}
    for name in sorted(draw(st.sets(st.sampled_from(sorted(USES)), min_size=1))):
        for field, value in USES[name].items():
            container[field] = [*container.get(field, []), *(v for v in value if v not in container.get(field, []))]
    return container


def set_scene(container: JSON, value: str) -> Stage:
    """Return a pod of three containers that use the Secret."""
    inits = [{"name": "init", "image": "image:1", **container}]
    others = [{"name": "side", "image": "image:1", **container}]
    return set_stage(container, build_secret("s", token=value), others=others, volumes=VOLUMES, initContainers=inits)


def preview(container: JSON, value: str) -> Preview:
    stage = set_scene(container, value)
    options = Options(sandbox_image=SANDBOX_IMAGE)
    return build_preview(build_job(), stage.runtime, "10.213.0.0/16", NOW, options, stage.objects)


def render(shown: Preview) -> str:
    """Return all that a preview could be printed as."""
    containers = [container.to_json() for container in shown.containers]
    documents = [shown.jobset, *shown.objects, *shown.pods, *containers, asdict(shown.network)]
    return "\n".join([repr(shown), render_plan(shown.plan), json.dumps(documents, ensure_ascii=False)])


few = settings(max_examples=40)


@few
@given(containers(), VALUES, VALUES)
def test_a_preview_tells_nothing_of_a_value(container: JSON, one: str, other: str) -> None:
    shown = preview(container, one)
    assert shown == preview(container, other)
    text = render(shown)
    assert MARK not in text
    assert base64.b64encode(one.encode()).decode() not in text
    made = {action.spec.name for action in shown.plan if isinstance(action, CreateContainer)}
    assert made <= {container.name for container in shown.containers}
    assert made


@few
@given(containers(), VALUES, VALUES)
def test_labels_tell_nothing_of_a_value_and_containers_have_it(container: JSON, one: str, other: str) -> None:
    for name in (SANDBOX, "init", "node", "side"):
        mine, theirs = (set_scene(container, value).spec(name) for value in (one, other))
        assert mine.labels == theirs.labels
        assert MARK not in repr((mine.labels, mine.name, mine.hosts))
        holds = [*mine.env.values(), *(mine.args or ()), *(file.content.decode() for file in mine.files)]
        assert any(MARK in text for text in holds) is (name != SANDBOX)


@few
@given(VALUES.map(lambda value: f"../{value}"))
def test_an_error_tells_nothing_of_a_value(value: str) -> None:
    mount = {"name": "d", "mountPath": "/d", "subPathExpr": "$(TOKEN)"}
    container: JSON = {"env": [ENV], "volumeMounts": [mount]}
    stage = set_stage(container, build_secret("s", token=value), volumes=[{"name": "d", "emptyDir": {}}])
    with pytest.raises(ConfigError) as error:
        stage.spec()
    assert MARK not in str(error.value)

"""What Prometheus reads is well formed and adds up, and the documentation lists exactly what there is."""

import re
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exposition import parse
from scripted_engine import ScriptedEngine
from trainlet.controller import engine_calls
from trainlet.controller.engine_calls import time_calls
from trainlet.controller.metrics import FAMILIES, SECONDS, Counter, Family, Gauge, Histogram, render
from trainlet.engine.base import Engine, EngineUnavailable
from trainlet.loading import now

DOCUMENT = Path(__file__).parents[2] / "docs" / "operating.md"
_ROW = re.compile(r"^\| `([a-z_]+)` \| (counter|gauge|histogram) \| (.*?) ?\| (.*) \|$", re.MULTILINE)


@given(st.text())
def test_any_label_comes_back(text: str) -> None:
    counter = Counter("x_total", "It counts.", ("of",))
    counter.add(text, amount=3)
    assert parse(render([counter])) == {("x_total", (("of", text),)): 3}


@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_each_in_its_bucket_and_all_above(seconds: list[float]) -> None:
    histogram = Histogram("x_seconds", "It times.", ("verb",))
    for each in seconds:
        histogram.observe(each, "get")
    found = parse(render([histogram]))
    for bound in SECONDS if seconds else ():
        key = ("x_seconds_bucket", (("le", f"{bound:g}"), ("verb", "get")))
        assert found[key] == sum(each <= bound for each in seconds)
    counts = [value for (name, labels), value in found.items() if name.endswith("_bucket")]
    assert all(one <= other for one, other in pairwise(counts))
    assert found.get(("x_seconds_count", (("verb", "get"),)), 0) == len(seconds)
    assert found.get(("x_seconds_sum", (("verb", "get"),)), 0) == pytest.approx(sum(seconds))


def test_a_family_is_told_with_help_and_type() -> None:
    gauge = Gauge("x", "It is so much.")
    assert render([gauge]) == "# HELP x It is so much.\n# TYPE x gauge\n"
    gauge.set(0.25)
    assert render([gauge]).splitlines()[-1] == "x 0.25"


def test_nothing_is_lost_between_threads() -> None:
    counter, histogram = Counter("x_total", "It counts.", ("of",)), Histogram("x_seconds", "It times.")

    def count() -> None:
        for _ in range(2000):
            counter.add("it")
            histogram.observe(1)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = parse(render([counter, histogram]))
    assert found[("x_total", (("of", "it"),))] == found[("x_seconds_count", ())] == 16000


def test_to_count_costs_next_to_nothing() -> None:
    counter, rounds = Counter("x_total", "It counts.", ("of",)), 20_000
    begun = time.process_time()
    for _ in range(rounds):
        counter.add("it")
    assert (time.process_time() - begun) / rounds < 20e-6, "it takes some 1 µs"


def test_the_document_lists_exactly_what_is_exposed() -> None:
    rows = _ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    exposed = [(f.name, f.type, " ".join(f"`{each}`" for each in f.labels), f.help) for f in FAMILIES]
    assert rows == exposed


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_names_and_units_follow_prometheus(family: Family) -> None:
    assert (family.type == "counter") == family.name.endswith("_total")
    if family.type == "histogram":
        assert family.name.endswith("_seconds")
    assert family.help.endswith(".")
    assert "le" not in family.labels


# Calls of an engine


def test_the_verbs_are_the_engine_s_own() -> None:
    streams = {"connect", "open_session", "read_logs", "watch", "close"}
    methods = {name for name in vars(Engine) if not name.startswith("_")} - {"name", "endpoint"}
    assert methods - streams == engine_calls.VERBS


def test_calls_are_timed_and_failures_counted_by_what_was_raised() -> None:
    real = ScriptedEngine(now)
    engine = time_calls(real)
    before = parse(render(FAMILIES))
    engine.ping()
    real.is_down = True
    with pytest.raises(EngineUnavailable):
        engine.observe("uid")
    after = parse(render(FAMILIES))

    def grown(name: str, **labels: str) -> float:
        key = (name, tuple(sorted({"engine": real.name, **labels}.items())))
        return after.get(key, 0) - before.get(key, 0)

    assert grown("trainlet_engine_call_duration_seconds_count", verb="ping") == 1
    assert grown("trainlet_engine_call_duration_seconds_count", verb="observe") == 1
    assert grown("trainlet_engine_call_errors_total", verb="ping", reason="EngineUnavailable") == 0
    assert grown("trainlet_engine_call_errors_total", verb="observe", reason="EngineUnavailable") == 1
    assert engine.endpoint == real.endpoint

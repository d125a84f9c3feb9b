"""Keys and times as Kubernetes writes them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from trainlet.kube.meta import ObjectKey, format_micro_time, format_time, get_metadata, parse_time

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def test_a_key_says_what_it_names() -> None:
    assert str(ObjectKey("TrainJob", "default", "mnist")) == "TrainJob default/mnist"
    assert str(ObjectKey("ClusterTrainingRuntime", "", "torch")) == "ClusterTrainingRuntime torch"


def test_keys_sort_by_kind_then_namespace_then_name() -> None:
    keys = [ObjectKey("B", "a", "a"), ObjectKey("A", "b", "a"), ObjectKey("A", "a", "b"), ObjectKey("A", "a", "a")]
    assert sorted(keys) == keys[::-1]


@pytest.mark.parametrize("document", [{}, {"metadata": None}, {"metadata": "text"}, {"metadata": ["list"]}])
def test_metadata_that_is_none_is_empty(document: dict[str, object]) -> None:
    assert get_metadata(document) == {}


def test_times_are_written_in_utc() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert format_time(elsewhere) == "2026-01-02T03:04:05Z"
    assert format_micro_time(elsewhere) == "2026-01-02T03:04:05.678901Z"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", MOMENT.replace(microsecond=0)),
        ("2026-01-02T03:04:05.678901Z", MOMENT),
        ("2026-01-02T03:04:05.678901", MOMENT),
        ("2026-01-02T08:34:05.678901+05:30", MOMENT),
    ],
)
def test_times_are_read_with_their_zone_or_as_utc(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        parse_time("yesterday")

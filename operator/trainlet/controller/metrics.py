"""What the operator counts and times, and how Prometheus reads it (text exposition format 0.0.4).

One table for the whole process, as loggers are: whoever does the thing counts it. Names and units follow Prometheus and
client-go's workqueue. What only a look can tell is set by `vitals.py` when somebody asks.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Upper bounds in seconds: from a pass without work to a call at the engine's timeout.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

Labels = tuple[str, ...]
#: What is behind the family's name, the labels, and the value.
Sample = tuple[str, Mapping[str, str], float]


@dataclass(eq=False)
class Family:
    """All samples of one name. Label values are given in the order of the labels' names."""

    name: str
    help: str
    labels: Labels = ()
    type: str = "untyped"
    _values: dict[Labels, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def list_samples(self) -> list[Sample]:
        """Return the samples in the order of their labels."""
        with self._lock:
            values = sorted(self._values.items())
        return [("", self._name_labels(labels), value) for labels, value in values]

    def _name_labels(self, labels: Labels) -> dict[str, str]:
        return dict(zip(self.labels, labels, strict=True))


@dataclass(eq=False)
class Counter(Family):
    """Only grows."""

    type: str = "counter"

    def add(self, *labels: str, amount: float = 1.0) -> None:
        """Count once, or so much."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0.0) + amount

    def replace(self, values: Mapping[Labels, float]) -> None:
        """Set all samples, of what is counted elsewhere."""
        with self._lock:
            self._values = dict(values)

    def set(self, value: float, *labels: str) -> None:
        """Set the only sample."""
        self.replace({labels: value})


@dataclass(eq=False)
class Gauge(Counter):
    """Goes up and down."""

    type: str = "gauge"


@dataclass(eq=False)
class Histogram(Family):
    """How long things took, in seconds."""

    type: str = "histogram"
    _counts: dict[Labels, list[int]] = field(default_factory=dict)

    def observe(self, seconds: float, *labels: str) -> None:
        """Count one that took so long."""
        place = bisect_left(SECONDS, seconds)
        with self._lock:
            self._values[labels] = self._values.get(labels, 0.0) + seconds
            self._counts.setdefault(labels, [0] * (len(SECONDS) + 1))[place] += 1

    @contextmanager
    def timing(self, *labels: str) -> Iterator[None]:
        """Count how long the block takes, however it ends."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.observe(time.perf_counter() - begun, *labels)

    def list_samples(self) -> list[Sample]:
        """Return buckets, each with all below it, then sum and count, for each set of labels."""
        with self._lock:
            told = [(labels, total, list(self._counts[labels])) for labels, total in sorted(self._values.items())]
        return [sample for labels, total, counts in told for sample in self._list(labels, total, counts)]

    def _list(self, labels: Labels, total: float, counts: list[int]) -> Iterator[Sample]:
        named, seen = self._name_labels(labels), 0
        for bound, count in zip((*SECONDS, float("inf")), counts, strict=True):
            seen += count
            yield "_bucket", {**named, "le": _write_number(bound)}, seen
        yield "_sum", named, total
        yield "_count", named, seen


def render(families: Iterable[Family]) -> str:
    """Return the families as text; one without samples is told by its help and type alone."""
    return "".join(line for family in families for line in _render(family))


def _render(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.type}\n"
    for suffix, labels, value in family.list_samples():
        pairs = ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())
        yield (
            f"{family.name}{suffix}{{{pairs}}} {_write_number(value)}\n"
            if pairs
            else (f"{family.name}{suffix} {_write_number(value)}\n")
        )


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _write_number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))


_QUEUE = ("name",)
DEPTH = Gauge("workqueue_depth", "Keys that wait for a worker.", _QUEUE)
ADDS = Counter("workqueue_adds_total", "Keys that were added.", _QUEUE)
RETRIES = Counter("workqueue_retries_total", "Keys that were added again after a failed pass.", _QUEUE)
QUEUE_DURATION = Histogram("workqueue_queue_duration_seconds", "How long a key waited for a worker.", _QUEUE)
WORK_DURATION = Histogram("workqueue_work_duration_seconds", "How long a worker had a key in hand.", _QUEUE)
UNFINISHED_WORK = Gauge(
    "workqueue_unfinished_work_seconds", "How long the keys in hand have been there, all together.", _QUEUE
)
LONGEST_RUNNING = Gauge(
    "workqueue_longest_running_processor_seconds",
    "How long the key that is in hand for longest has been there.",
    _QUEUE,
)

RECONCILE_DURATION = Histogram("trainlet_reconcile_duration_seconds", "How long a pass over a job took.", ("result",))
RECONCILE_ERRORS = Counter("trainlet_reconcile_errors_total", "Passes that failed, by what was raised.", ("reason",))
ACTIONS = Counter("trainlet_actions_total", "Actions of plans that were tried.", ("action", "result"))
JOBS = Gauge("trainlet_jobs", "TrainJobs, by the phase of their report.", ("phase",))
NODES = Gauge("trainlet_nodes", "Nodes of TrainJobs, by the state that the report gives them.", ("state",))

ENGINE_CALL_DURATION = Histogram(
    "trainlet_engine_call_duration_seconds", "How long a call of the engine took.", ("engine", "verb")
)
ENGINE_CALL_ERRORS = Counter(
    "trainlet_engine_call_errors_total",
    "Calls of the engine that failed, by what was raised.",
    ("engine", "verb", "reason"),
)
ENGINE_UP = Gauge("trainlet_engine_up", "Whether the engine answers, 1 or 0.")
ENGINE_EVENTS = Counter("trainlet_engine_events_total", "Events of our containers and networks.")
EVENT_STREAM_RESTARTS = Counter(
    "trainlet_engine_event_stream_restarts_total", "How often the engine's stream of events ended and was opened again."
)
IMAGES_PULLING = Gauge("trainlet_images_pulling", "Images that are being pulled now.")
IMAGE_PULLS = Counter("trainlet_image_pulls_total", "Pulls that have ended.", ("result",))

WATCHED_FILES = Gauge("trainlet_watched_files", "Manifest files in the watched directory.")
SCAN_DURATION = Histogram("trainlet_scan_duration_seconds", "How long a look at the watched directory took.")

BUILD_INFO = Gauge("trainlet_build_info", "1, with the versions of what runs.", ("version", "python_version"))
CPU_SECONDS = Counter("process_cpu_seconds_total", "User and system CPU time of the operator, in seconds.")
START_TIME = Gauge("process_start_time_seconds", "When the operator was started, in seconds since the epoch.")
RESIDENT_MEMORY = Gauge("process_resident_memory_bytes", "Resident memory of the operator, in bytes.")
OPEN_FDS = Gauge("process_open_fds", "File descriptors that the operator has open.")
MAX_FDS = Gauge("process_max_fds", "File descriptors that the operator may have open.")
THREADS = Gauge("process_threads", "Threads of the operator.")

FAMILIES: tuple[Family, ...] = tuple(each for each in list(globals().values()) if isinstance(each, Family))
for _each in (ENGINE_EVENTS, EVENT_STREAM_RESTARTS, IMAGES_PULLING):
    _each.add(amount=0)  # there before the first of them, so that a rate of it can be told

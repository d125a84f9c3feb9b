"""How the operator itself is: what only a look can tell of it, whether its loops live, whether it can do its work."""

import os
import platform
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from trainlet import __version__
from trainlet.controller import metrics
from trainlet.controller.file_source import FileSource
from trainlet.controller.workqueue import WorkQueue
from trainlet.job_parts import TOLD
from trainlet.kube.errors import EngineError
from trainlet.kube.meta import ObjectKey
from trainlet.store import Store

#: Longer than a pass over a large job on a slow engine, whose every call ends after a minute.
STUCK_SECONDS = 300.0
QUEUE = "trainjob"
_PROC = Path("/proc/self")


@dataclass(frozen=True)
class Vitals:
    """Looks at one operator.

    `threads` are the names of those that have to live; `check_engine` raises EngineError while the engine is away.
    """

    store: Store
    queue: WorkQueue[ObjectKey]
    files: FileSource
    check_engine: Callable[[], None]
    threads: Collection[str]

    def find_dead(self) -> list[str]:
        """Return which loops have ended or are stuck; without them nothing goes on until the operator is restarted."""
        alive = {thread.name for thread in threading.enumerate()}
        problems = [f"thread {name} has ended" for name in self.threads if name not in alive]
        if (seconds := self.queue.measure().longest_seconds) > STUCK_SECONDS:
            problems.append(f"a worker has been busy with one job for {seconds:.0f} s")
        if (seconds := self.files.age_seconds) > STUCK_SECONDS:
            problems.append(f"the directory was last looked at {seconds:.0f} s ago")
        return problems

    def find_unready(self) -> list[str]:
        """Return what keeps the operator from its work, and goes by itself or by somebody's hand."""
        return [problem for problem in (self.files.root_problem, self._find_outage()) if problem]

    def write_metrics(self) -> str:
        """Return all metrics, after a look at what nobody counts."""
        self._look_at_queue()
        self._look_at_jobs()
        metrics.ENGINE_UP.set(not self._find_outage())
        metrics.BUILD_INFO.set(1, __version__, platform.python_version())
        _look_at_process()
        return metrics.render(metrics.FAMILIES)

    def _find_outage(self) -> str:
        try:
            self.check_engine()
        except EngineError as error:
            return str(error)
        return ""

    def _look_at_queue(self) -> None:
        load = self.queue.measure()
        metrics.DEPTH.set(load.depth, QUEUE)
        metrics.UNFINISHED_WORK.set(load.unfinished_seconds, QUEUE)
        metrics.LONGEST_RUNNING.set(load.longest_seconds, QUEUE)

    def _look_at_jobs(self) -> None:
        """Count by an index, which knows the jobs at rest as well and brings none of them back."""
        phases: Counter[metrics.Labels] = Counter()
        states: Counter[metrics.Labels] = Counter()
        for told, count in self.store.count_by(TOLD).items():
            phase, *nodes = cast(metrics.Labels, told)
            phases[(phase,)] += count
            for state in nodes:
                states[(state,)] += count
        metrics.JOBS.replace(phases)
        metrics.NODES.replace(states)


def _look_at_process() -> None:
    """Read what the kernel knows of this process; a kernel without /proc leaves most of it out."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    metrics.CPU_SECONDS.set(usage.ru_utime + usage.ru_stime)
    metrics.MAX_FDS.set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    metrics.THREADS.set(threading.active_count())
    with suppress(OSError):
        metrics.OPEN_FDS.set(sum(1 for _ in (_PROC / "fd").iterdir()))
        pages = int((_PROC / "statm").read_text(encoding="ascii").split()[1])
        metrics.RESIDENT_MEMORY.set(pages * os.sysconf("SC_PAGE_SIZE"))
        metrics.START_TIME.set(_read_start_time())


def _read_start_time() -> float:
    # A program's own name, which is in brackets before, may have spaces.
    ticks = int((_PROC / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age

"""Time, CPU and memory of some processes, taken before and after."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Taken:
    """What some processes have used until a moment; ``cpu`` is user + system, in seconds.

    ``peak`` is the sum of their largest resident sizes, in bytes.
    """

    at: float
    cpu: float
    peak: int

    def __sub__(self, before: Taken) -> Used:
        return Used(self.at - before.at, self.cpu - before.cpu, self.peak)


@dataclass(frozen=True, slots=True)
class Used:
    """What a piece of work took: seconds, CPU seconds, and the peak of memory in bytes.

    ``moved`` are the seconds until its first progress was seen, if that was looked at.
    """

    seconds: float
    cpu: float
    peak: int
    moved: float | None = None


def take(pids: Iterable[int]) -> Taken:
    """The present standing of these processes."""
    processes = [psutil.Process(pid) for pid in pids]
    times = [process.cpu_times() for process in processes]
    return Taken(
        time.perf_counter(),
        sum(spent.user + spent.system for spent in times),
        sum(map(_peak, processes)),
    )


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    parent = psutil.Process(pid)
    return [pid, *(child.pid for child in parent.children(recursive=True))]


def _peak(process: psutil.Process) -> int:
    """The high-water mark where the kernel keeps one, else what is resident now."""
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    memory = process.memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))


def pace() -> float:
    """How quick the machine is at this moment: seconds that ten million additions take.

    A virtual machine may do twice as much at one moment as at another.
    """
    began, total = time.perf_counter(), 0
    for number in range(10_000_000):
        total += number
    return time.perf_counter() - began


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all are not above."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def median(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(list(values))

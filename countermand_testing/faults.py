"""Faults: what is to go wrong while a job is worked, as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from streams.failpoints import Failpoint, Failpoints


@dataclass(frozen=True, slots=True)
class Crash:
    """The worker dies the ``nth`` time that any worker comes to a place.

    A chunk survives two deaths unharmed. After the third one in a row it is halved, to find the
    item that kills its workers, which then fails as ``worker_died``: that is the engine's rule,
    and no fault of the operation's.
    """

    place: Failpoint
    nth: int = 1


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong; each share is the chance that it happens to a message, 0 to 1.

    ``lost`` messages never arrive, ``repeated`` ones arrive at another worker as well,
    ``shuffled`` ones arrive out of their order. After a ``rebalanced`` one a worker is
    stopped in an orderly way, and another takes its place.
    """

    crashes: tuple[Crash, ...] = ()
    lost: float = 0.0
    repeated: float = 0.0
    shuffled: float = 0.0
    rebalanced: float = 0.0

    def __post_init__(self) -> None:
        for name in ("lost", "repeated", "shuffled", "rebalanced"):
            share: float = getattr(self, name)
            if not 0 <= share <= 0.9:
                raise ValueError(f"{name}={share} must be a share from 0 to 0.9: some must arrive")


NONE = Faults()


class WorkerDiedError(BaseException):
    """A worker's death. Nothing catches it on the way: it is none of the exceptions that are."""


class Deaths:
    """Which crashes are still to come; shared by all workers of a bench."""

    def __init__(self, crashes: Sequence[Crash]) -> None:
        self._crashes = frozenset((crash.place, crash.nth) for crash in crashes)
        self._reached: Counter[Failpoint] = Counter()
        self.happened = 0

    def is_here(self, place: Failpoint) -> bool:
        """Count one more arrival; whether it is to be the last."""
        self._reached[place] += 1
        here = (place, self._reached[place]) in self._crashes
        self.happened += here
        return here


class Mortal(Failpoints):
    """The failpoints of one worker, which ends its work instead of the process.

    Once dead it gets no further than to its next failpoint: what it still holds in other
    threads and tasks comes to nothing, as in a process that is gone.
    """

    def __init__(self, deaths: Deaths) -> None:
        super().__init__()
        self._deaths = deaths
        self.dead = False

    def reach(self, place: Failpoint) -> None:
        """Die here, or have died."""
        if self.dead or self._deaths.is_here(place):
            self.dead = True
            raise WorkerDiedError(place)

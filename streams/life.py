"""Life: the process that has a data directory, told from the one that had it before.

Where something outside of the directory is held, as a database, it is held under the name of a
life: the next one may take it over at once, since the process lock proves that the last is dead.
A copy of the directory is no next life, for what it was copied from may live. One is known by
its number in the file system, which stays with a volume, and with the disk of a cloned machine.
"""

from __future__ import annotations

from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

FILE_NAME = "life"


def last_life(data_dir: Path) -> str:
    """The name of the last one that has begun here; empty when there was none, or it is lost.

    Nothing but time is lost with it: the next one waits for it as anybody would.
    """
    try:
        told = (data_dir / FILE_NAME).read_bytes().decode("ascii", "replace")
    except OSError:
        return ""
    number, _, name = told.rstrip("\n").partition(" ")
    return name if number == _number(data_dir) else ""


def begin_life(data_dir: Path, name: str) -> None:
    """Tell the next one of this one, which holds by now what it has to hold.

    A full disk keeps nobody from its start.
    """
    try:
        (data_dir / FILE_NAME).write_bytes(f"{_number(data_dir)} {name}\n".encode())
    except OSError as error:
        log.warning("life_not_noted", reason=str(error), costs="the next start waits a few seconds")


def _number(data_dir: Path) -> str:
    return str(data_dir.stat().st_ino)

"""Output: results to standard output, messages to standard error."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from domain.errors import InvalidCommand
from streams.standard_streams import lead_nowhere

_UNWRITTEN = frozenset(
    {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EAGAIN}
)
"""Why a file that is open takes nothing more."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """The text without what could steer a terminal: names and messages come from anybody."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def emit(document: Any) -> None:
    """One JSON document, on a line of its own, to standard output."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def say(sentence: str) -> None:
    """A message for people, to standard error; see :func:`complain`."""
    complain(plain(sentence))


def complain(line: str) -> None:
    """A line to standard error; one that cannot be written ends nothing."""
    # Without a standard error print() would take standard output.
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(line, file=sys.stderr, flush=True)


@contextmanager
def told_otherwise(sentence: str) -> Iterator[None]:
    """Results of what is done by now; ``sentence`` is said where they cannot be written."""
    try:
        yield
        sys.stdout.flush()
    except OSError:
        say(sentence)
        raise


def is_unwritten(error: OSError) -> bool:
    """Whether it says that standard output takes nothing more; files have a name in theirs.

    A process that cannot be begun is EAGAIN as well, and says nothing of characters.
    """
    is_of_output = error.errno != errno.EAGAIN or hasattr(error, "characters_written")
    return error.filename is None and error.errno in _UNWRITTEN and is_of_output


def give_up_output() -> None:
    """Have standard output lead nowhere from now on."""
    lead_nowhere(sys.stdout)


@contextmanager
def pipe_may_close() -> Iterator[None]:
    """End quietly when whoever reads our output has seen enough (``| head``)."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        give_up_output()


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when all is written; until then, and if not, there is none new.

    Of several that write one name at a time, the last to end has it. A link stays, and leads to
    the new file; a pipe or a device is written itself. Raises InvalidCommand when it cannot be.
    """
    try:
        with _to_be_written(path) as file:
            yield file
    except OSError as error:
        raise InvalidCommand(f"cannot write {path} ({error.strerror})") from None


def _to_be_written(path: Path) -> AbstractContextManager[BinaryIO]:
    special = path.exists() and not path.is_file()
    return path.open("wb") if special else _draft_of(path)


@contextmanager
def _draft_of(path: Path) -> Iterator[BinaryIO]:
    """A file of nobody else's, beside the one whose name it gets at the end."""
    target = Path(os.path.realpath(path))
    draft = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    file = draft.open("xb")
    try:
        with file:
            yield file
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)

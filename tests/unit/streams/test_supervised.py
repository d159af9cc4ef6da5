"""A process that cannot end by itself is ended, and one that goes on says so."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from streams import supervised
from streams.supervised import EXIT_HUNG, Pulse
from streams.supervisor import PIPE_ROOM

_HANGS = """
import threading
from streams.supervised import end_within
threading.Thread(target=threading.Event().wait).start()
end_within({seconds})
"""


def test_a_thread_that_never_ends_keeps_no_process() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _HANGS.format(seconds=0.1)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == EXIT_HUNG
    assert ended.stderr == "countermand: the process did not end by itself; it is ended\n"


def test_who_ends_by_itself_is_not_waited_for() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from streams.supervised import end_within; end_within(600)"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its end to read from, without waiting, and that to write to."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    yield read, write
    os.close(read)
    os.close(write)


async def test_an_event_loop_that_turns_says_so_again_and_again(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "BEAT_EVERY", 0.01)
    read, write = pipe
    pulse = Pulse(write)
    for _ in range(2):
        # Once for what waits, and once for what serves: the second one adds nothing.
        pulse.begin()
    assert os.read(read, PIPE_ROOM) == b"1"

    async with asyncio.timeout(10):
        for _ in range(3):
            while True:
                await asyncio.sleep(0.01)
                try:
                    assert os.read(read, PIPE_ROOM)
                except BlockingIOError:
                    continue
                break


async def test_an_event_loop_does_not_stand_still_for_who_does_not_listen(
    pipe: tuple[int, int],
) -> None:
    read, write = pipe
    os.write(write, b"1" * PIPE_ROOM)

    Pulse(write).begin()

    assert len(os.read(read, 2 * PIPE_ROOM)) == PIPE_ROOM

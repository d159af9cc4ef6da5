"""A process that cannot end by itself is ended."""

from __future__ import annotations

import subprocess
import sys

from streams.supervised import EXIT_HUNG

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

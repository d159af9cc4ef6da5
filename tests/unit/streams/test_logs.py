"""Logs: each entry is one line that nothing in it can break, cut short, and without secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.buffered import buffered

PROGRAM = """
import logging, json, sys, structlog
from streams.logs import configure
configure("info")
given = json.loads(sys.argv[1])
structlog.get_logger("ours").info("said", value=given, nested={"list": [given]})
logging.getLogger("theirs").warning("said %s", given)
try:
    raise ValueError(given)
except ValueError as error:
    structlog.get_logger("ours").error("failed", exc_info=error)
    logging.getLogger("theirs").exception("failed")
"""

ACTING = "\ud800" + "".join(
    map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x202E, 0x2066))
)


def logged(value: Any) -> str:
    """What a process says on standard error when it logs a value in every way."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(value)],
        capture_output=True,
        check=True,
        timeout=60,
    )
    return ended.stderr.decode()


def test_what_is_known_around_an_entry_is_in_it_whoever_writes_it() -> None:
    program = PROGRAM.replace(
        "given = json",
        "structlog.contextvars.bind_contextvars(job_id='j', trace_id='t')\ngiven = json",
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, '"x"'], capture_output=True, check=True, timeout=60
    )
    entries = [json.loads(line) for line in ended.stderr.decode().splitlines()]
    assert len(entries) == 4
    assert {(entry["job_id"], entry["trace_id"]) for entry in entries} == {("j", "t")}


def test_each_entry_is_a_line_whatever_it_says() -> None:
    text = logged(f'one{ACTING}\r\n{{"event": "forged"}}\n\x1b[31mred')

    lines = text.split("\n")
    assert lines.pop() == ""
    entries = [json.loads(line) for line in lines]
    assert [entry["event"] for entry in entries][::2] == ["said", "failed"]
    assert len(entries) == 4
    assert "forged" not in [entry["event"] for entry in entries]
    assert not set(ACTING) & set("".join(lines))
    assert all(entry.keys() >= {"event", "level", "timestamp"} for entry in entries)
    assert len(text.splitlines()) == 4


def test_what_is_away_is_named_without_where_that_was_noticed() -> None:
    program = """
import logging
import structlog
from domain.errors import StoreUnavailable
from streams import logs

logs.configure("warning")
try:
    raise StoreUnavailable("the database is away")
except StoreUnavailable as away:
    structlog.get_logger().exception("left")
    structlog.get_logger().error("left", exc_info=away)
    logging.getLogger("library").exception("left")
try:
    raise ValueError("of ours")
except ValueError:
    structlog.get_logger().exception("left")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, timeout=60
    )
    *away, ours = [json.loads(line) for line in ended.stderr.decode().splitlines()]
    assert [(one["event"], one["reason"]) for one in away] == [("left", "the database is away")] * 3
    assert not any("exception" in one for one in away)
    assert ours["exception"][0]["exc_value"] == "of ours"


def test_of_an_error_the_first_line_is_told_whatever_group_it_is_in() -> None:
    program = """
import logging
import structlog
from streams import logs

logs.configure("warning")
refused = ValueError('no number: "canary"\\nDETAIL:  Failing row contains (canary).')
try:
    raise ExceptionGroup("some", [refused])
except ExceptionGroup:
    structlog.get_logger().exception("left")
try:
    try:
        raise refused
    except ValueError as error:
        raise KeyError("outer") from error
except KeyError:
    logging.getLogger("library").exception("left")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, timeout=60
    )
    text = ended.stderr.decode()
    group, chain = [json.loads(line)["exception"] for line in text.splitlines()]
    assert "canary" not in text
    assert group[0]["exceptions"][0][0]["exc_value"] == "no number: [...]"
    assert [error["exc_value"] for error in chain] == ["'outer'", "no number: [...]"]


def test_long_values_are_cut_wherever_they_are() -> None:
    text = logged("x" * 100_000)

    assert all(len(line) < 20_000 for line in text.splitlines())


@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Bearer canary-canary",
        "bearer canary.canary.canary",
        "cmk_" + "0" * 32 + "_cafe" + "0" * 60,
        "whsec_canary+canary/canary=",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.canary",
        "postgresql://ada:canary@host/name",
        "kafka://ada:canary@host:9092",
    ],
)
def test_what_looks_like_a_secret_is_blotted_out(secret: str) -> None:
    text = logged(f"it was {secret} that failed")

    assert "canary" not in text
    assert "cafe" not in text
    assert "that failed" in text


FULL = Path("/dev/full")
GOES_ON = """
import asyncio, logging, sys, structlog
from domain.errors import StoreUnavailable
from streams import logs
from streams.loops import background, every

logs.configure("info")
logging.getLogger("library").warning("left out")
tries = 0


async def work() -> None:
    global tries
    tries += 1
    raise StoreUnavailable("the disk is full")


async def main() -> None:
    async with background([every(0.01, work)]):
        while tries < 3:
            await asyncio.sleep(0.01)


asyncio.run(main())
print("went on")
"""


def _went_on(**options: Any) -> tuple[int, bytes]:
    """Exit code and output of an engine's loop that logs each of its tries."""
    ended = subprocess.run(
        [sys.executable, "-c", GOES_ON],
        env=buffered(),
        stdout=subprocess.PIPE,
        timeout=60,
        check=False,
        **options,
    )
    return ended.returncode, ended.stdout


def test_a_full_disk_of_the_log_ends_nobody() -> None:
    with FULL.open("wb") as full:
        assert _went_on(stderr=full) == (0, b"went on\n")


def test_a_log_that_nobody_reads_any_more_ends_nobody() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        assert _went_on(stderr=write) == (0, b"went on\n")
    finally:
        os.close(write)


def test_a_log_that_was_closed_from_the_start_ends_nobody_and_goes_nowhere_else() -> None:
    assert _went_on(preexec_fn=lambda: os.close(2)) == (0, b"went on\n")


def test_once_a_line_can_be_written_it_is() -> None:
    program = """
import os
import sys
import structlog
from streams import logs

read, write = os.pipe()
os.set_blocking(read, False)
os.set_blocking(write, False)
os.dup2(write, sys.stderr.fileno())
try:
    while True:
        os.write(write, bytes(4096))
except BlockingIOError:
    logs.configure("info")
structlog.get_logger().info("while nobody reads")
try:
    while True:
        os.read(read, 4096)
except BlockingIOError:
    structlog.get_logger().info("at last")
sys.stdout.buffer.write(os.read(read, 4096))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, timeout=60
    )
    assert json.loads(ended.stdout.splitlines()[-1])["event"] == "at last"

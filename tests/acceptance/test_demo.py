"""The demonstration, run as a stranger runs it, and shown to find what is wrong."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from pydoc_data.topics import topics
from random import Random

import psutil
import pytest

from streams.cli.client import Client
from streams.cli.demo_checks import Checks
from streams.cli.demo_records import Records
from streams.cli.demo_run import public
from streams.cli.demo_server import running
from streams.cli.demo_stage import Stage
from streams.cli.demo_story import tell
from tests.acceptance.commands import COMMAND, countermand, environment

pytestmark = pytest.mark.slow
TEXTS = {name: topics[name] for name in sorted(topics)[:12]}


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.json"
    path.write_text(json.dumps(TEXTS))
    return path


def test_every_claim_holds_on_texts_of_ones_own(texts: Path, tmp_path: Path) -> None:
    ended = countermand("demo", str(texts), "--json", TMPDIR=str(tmp_path))

    outcome = json.loads(ended.stdout)
    assert ended.returncode == 0, ended.stderr
    assert outcome["held"]
    assert len(outcome["checks"]) >= 25
    assert all(check["held"] for check in outcome["checks"])
    assert outcome["data_dir"] is None
    assert list(tmp_path.iterdir()) == [texts], "the data directory is removed"


def test_texts_without_a_word_of_python_prove_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("nothing to see here")

    ended = countermand("demo", str(tmp_path / "empty.txt"), TMPDIR=str(tmp_path))

    assert ended.returncode == 1
    assert "enough words of Python" in ended.stdout
    (kept,) = tmp_path.glob("countermand-demo-*")
    assert str(kept) in ended.stderr, "a demo that failed leaves its data for a look"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"\xff\xd8\xff")

    ended = countermand("demo", str(tmp_path / "picture"))

    assert ended.returncode == 2
    assert "as UTF-8 text" in ended.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_demo_that_is_stopped_leaves_no_server_behind(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    # A test run in the background of a shell ignores SIGINT, and so would all it starts.
    ours = signal.signal(signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        [*COMMAND, "demo", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(TMPDIR=str(tmp_path)),
    ) as demo:
        signal.signal(signal.SIGINT, ours)
        assert demo.stderr is not None
        while "One job" not in demo.stderr.readline():
            assert demo.poll() is None
        servers = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(number)
        output, said = demo.communicate(timeout=60)

    assert (demo.returncode, output) == (code, "")
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(servers, timeout=20)
    assert len(servers) == 2
    assert not alive
    if number is not signal.SIGKILL:
        assert not list(tmp_path.iterdir())


class Tampered(Stage):
    """Somebody changes a record behind the engine's back before the story looks at it."""

    async def records(self) -> Records:
        if any("rolled back" in check.claim for check in self.checks.made):
            await asyncio.to_thread(self._tamper)
        return await super().records()

    def _tamper(self) -> None:
        with closing(sqlite3.connect(self.server.database, timeout=10)) as connection:
            connection.execute("UPDATE texts SET content = content || '.' WHERE id = 1")
            connection.execute("UPDATE events SET actor = 'nobody' WHERE id = 3")
            connection.commit()


async def test_what_was_tampered_with_is_found(tmp_path: Path) -> None:
    checks = Checks(lambda _check: None)
    async with running(tmp_path) as server, Client(server.url) as client:
        stage = Tampered(
            client=client, server=server, checks=checks, public=public(None), chance=Random(1)
        )
        await tell(stage, TEXTS)

    failed = [check.claim for check in checks.made if not check.held]
    assert len(failed) == 3
    assert failed[0].startswith("every other record is as before the job")
    assert failed[1].startswith("every record is as before the undo")
    assert failed[2].startswith("the chain of all")

"""A copy of an SQLite database is put back by the steps of docs/running.md, and stays put back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.commands import PATIENCE, Service, asked, environment, wait_ready

pytestmark = pytest.mark.crash
GUIDE = Path(__file__).parents[2] / "docs" / "running.md"
STEPS = re.compile(r"^To restore an SQLite file.*?```\n(.*?)```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    served = Service(tmp_path / "log", "serve", "--data-dir", str(tmp_path / "data"))
    served.start()
    try:
        wait_ready(served, time.monotonic() + PATIENCE)
        yield served
    finally:
        served.stop()


def submitted(service: Service, folder: Path, name: str) -> str:
    """A job that has ended."""
    items = folder / "items.ndjson"
    items.write_text(json.dumps({"name": name}) + "\n")
    said = asked(
        *("submit", "annotations.create_projects", str(items), "--json"),
        COUNTERMAND_URL=service.url,
    )
    job_id: str = json.loads(said.stdout)["job_id"]
    watched = asked("watch", job_id, COUNTERMAND_URL=service.url)
    assert watched.returncode == 0, watched.stderr
    return job_id


def is_known(service: Service, job_id: str) -> bool:
    """By its events: the list of jobs may lag behind them."""
    said = asked("show", job_id, "--json", COUNTERMAND_URL=service.url)
    assert said.returncode == 0 or "there is no job" in said.stderr, said
    return said.returncode == 0


def follow_the_guide(data_dir: Path) -> None:
    """Run what it says, in the data directory."""
    (steps,) = STEPS.findall(GUIDE.read_text())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["/bin/sh", "-euc", steps],
        cwd=data_dir,
        check=True,
        timeout=PATIENCE,
        env=environment(PATH=path),
    )


def test_what_came_after_the_copy_does_not_come_back_with_a_log_that_was_left(
    service: Service, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    copy = data / "copy.db"
    kept = submitted(service, tmp_path, "kept")
    copied = asked("db", "backup", str(copy), "--data-dir", str(data))
    assert copied.returncode == 0, copied.stderr
    lost = submitted(service, tmp_path, "lost")
    engine = service.engine
    service.process.kill()
    service.wait()
    engine.wait(PATIENCE)
    assert (data / "countermand.db-wal").stat().st_size, "or there is nothing to look out for"

    follow_the_guide(data)

    service.start()
    wait_ready(service, time.monotonic() + PATIENCE)
    assert (is_known(service, kept), is_known(service, lost)) == (True, False)

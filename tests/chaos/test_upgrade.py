"""An upgrade with both releases at work: readers first, under steady load, with jobs in flight."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from domain.planning import SLOW_ITEMS
from streams.stores.migrate import VERSION_TABLE, head
from tests.acceptance.commands import countermand
from tests.chaos import figures
from tests.chaos.balanced import Balanced
from tests.chaos.earlier import COMMIT, SCHEMA, Member, checked_out
from tests.chaos.load import EARLIER, Load, left_behind
from tests.chaos.processes import Process
from tests.chaos.stack import PARTITIONS, Stack, running_stack
from tests.chaos.test_rolling_restart import SUBMITTED_WITHIN, submitting
from tests.crash import seeds
from tests.proof.figures import tell
from tests.services.switch import need

BROKEN_OFF = 2 * SLOW_ITEMS
"""Slow calls that the two earlier workers may have had under way when they were told to end: they
cancelled them (mended since, in be981a9)."""
SETTLED = 2.0
"""Seconds of load between two steps."""


def test_a_clone_without_the_history_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="git fetch --unshallow"):
        checked_out(tmp_path, "0" * 40)
    assert not list(tmp_path.iterdir())


@pytest.mark.proof
@pytest.mark.crash
@pytest.mark.service("kafka", "postgresql")
@pytest.mark.timeout(900)
def test_an_upgrade_refuses_nobody_and_doubles_nothing(tmp_path: Path) -> None:
    need("kafka")
    need("postgresql")
    earlier = checked_out(tmp_path / "earlier")
    folder = tmp_path / "stack"
    folder.mkdir()
    with running_stack(folder, seeds.SEED, make=partial(Member, earlier=earlier)) as stack:
        load = Load.on(stack)
        done = load.submit(500)
        load.all_done(done, 60)
        slow = load.submit(60, ms=1_500, slow=True)
        large = load.submit(20_000, ms=2.0)
        paused = load.submit(3_000, ms=1.0)
        load.client.command(paused, "pause", f"pause-{paused}")

        stream, balanced = _upgraded(stack, load)
        load.client.command(paused, "resume", f"resume-{paused}")
        jobs = [*stream, slow, large, paused]
        for job_id in jobs:
            load.all_done(job_id, 120)
        load.client.command(done, "undo", f"undo-{done}")
        undone = load.done(done, 60)

        _judge_runs(load, jobs)
        tell("requests that no API answered in an upgrade", balanced.unanswered)
        tell("requests refused with 503 in an upgrade", balanced.refused + balanced.pending)
        assert (balanced.unanswered, balanced.repeated) == (0, 0)
        assert (balanced.refused, balanced.pending) == (0, 0)
        assert (undone["status"], undone["counts"]["rolled_back"]) == ("rolled_back", 500)
        assert countermand("audit", "verify", **_settings(stack)).returncode == 0
        figures.outcome(load)


def _judge_runs(load: Load, jobs: Sequence[str]) -> None:
    quick = [job_id for job_id in jobs if load.tasks[job_id].records]
    again = Counter[int]()
    for job_id in jobs:
        if job_id not in quick:
            again += left_behind(load.runs(job_id))
    tell("jobs of an upgrade", len(jobs), before=COMMIT[:7])
    tell("handler runs repeated in an upgrade", load.repeated(*quick), jobs=len(quick))
    tell("slow calls that the earlier workers broke off, made again", again[EARLIER])
    assert load.repeated(*quick) == 0
    assert again[EARLIER] <= BROKEN_OFF
    assert set(again) <= {EARLIER}, f"slow calls of this release were made again: {again}"


def _upgraded(stack: Stack, load: Load) -> tuple[list[str], Balanced]:
    """Migrate, then replace each process in turn, while jobs are submitted; the jobs."""
    second = stack.guest("api", "api-2")
    stack.start(second)
    members = [stack.api, second, *stack.workers, *stack.coordinators]
    balanced = Balanced([stack.api.url, second.url])
    with submitting(replace(load, client=balanced)) as stream:
        time.sleep(SETTLED)
        _migrated(stack)
        for member in members:
            # An API of the earlier release does not say that it ends before it does.
            with balanced.without(member.url, SETTLED):
                _renewed(stack, member)
        time.sleep(SETTLED)
    stack.stop(second)
    assert max(stream.took) < SUBMITTED_WITHIN
    tell("slowest submission in an upgrade", f"{max(stream.took):.1f} s", jobs=len(stream.jobs))
    return stream.jobs, balanced


def _migrated(stack: Stack) -> None:
    """As the guide says, beside the processes of the earlier release."""
    assert _schema(stack) == SCHEMA
    for verb in (("db", "upgrade"), ("topics", "create", "--partitions", str(PARTITIONS))):
        ended = countermand(*verb, **_settings(stack))
        assert ended.returncode == 0, ended.stderr
    assert _schema(stack) == head()


def _schema(stack: Stack) -> str:
    with stack.opened() as connection:
        return str(connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()[0])


def _renewed(stack: Stack, member: Process) -> None:
    assert isinstance(member, Member)
    member.ask_to_stop()
    assert member.wait() == 0, member.tail
    member.renewed = True
    stack.start(member)


def _settings(stack: Stack) -> dict[str, str]:
    return {name: value for name, value in stack.environment.items() if _is_setting(name)}


def _is_setting(name: str) -> bool:
    return name == "PYTHONPATH" or name.startswith("COUNTERMAND_")

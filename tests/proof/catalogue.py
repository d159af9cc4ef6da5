"""The proofs: which command each is, in full and as a quick sample, and how long it may take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

_PYTEST = (sys.executable, "-m", "pytest", "-s", "-q", "-p", "no:cacheprovider")
_DEFAULT = "not proof"
"""The marker expression of the tests that are run when nothing else is asked for."""
_ALL = "proof or not proof"

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """One proof; time limits are in seconds."""

    name: str
    claim: str
    full: Command
    sample: Command
    full_limit: float = 3600.0
    sample_limit: float = 60.0

    def command(self, *, sample: bool) -> Command:
        """What to run."""
        return self.sample if sample else self.full

    def limit(self, *, sample: bool) -> float:
        """How long it may take, in seconds."""
        return self.sample_limit if sample else self.full_limit


def _tests(*paths: str, marker: str = "proof", chosen: str = "") -> Command:
    picked = ("-k", chosen) if chosen else ()
    return (*_PYTEST, *paths, "-m", marker, *picked)


_WAITING = _tests(
    "tests/acceptance/test_waiting.py",
    "tests/acceptance/test_approval.py",
    marker=_DEFAULT,
    chosen="waits_for",
)
"""No worker and no broker are causes that the chaos proofs make."""


_DRAWN = _tests(
    "tests/formats/test_contract.py",
    "tests/asyncapi/test_document.py",
    marker=_DEFAULT,
    chosen="comes_back or cut_off or damage or no_such_file or megabytes or of_the_schema",
)
"""Ten times the examples in full: tests/sampled.py."""


def _acceptance(name: str, claim: str, marker: str = "proof", full_limit: float = 600.0) -> Proof:
    path = f"tests/acceptance/test_{name}.py"
    return Proof(
        name.replace("_", "-"),
        claim,
        full=_tests(path, marker=marker),
        sample=_tests(path, marker=_DEFAULT),
        full_limit=full_limit,
    )


def _on_both(name: str, claim: str) -> Iterator[Proof]:
    """A crash proof on SQLite, and once more on a PostgreSQL server of its own."""
    path = f"tests/crash/test_{name}.py"
    for suffix, database, chosen in (
        ("", "on SQLite", "not postgresql"),
        ("-postgresql", "on PostgreSQL", "postgresql"),
    ):
        yield Proof(
            name + suffix,
            f"{claim}; {database}",
            full=_tests(path, chosen=chosen),
            sample=_tests(path, marker=_DEFAULT, chosen=chosen),
            full_limit=7200.0,
            sample_limit=120.0,
        )


def _chaos(name: str, claim: str, sample_limit: float = 180.0, *, marker: str = "proof") -> Proof:
    """A proof on the scaled engine: six processes, a Kafka and a PostgreSQL of their own."""
    path = f"tests/chaos/test_{name}.py"
    return Proof(
        f"chaos-{name.replace('_', '-')}",
        claim,
        full=_tests(path, marker=marker),
        sample=_tests(path, marker=_DEFAULT),
        full_limit=7200.0,
        sample_limit=sample_limit,
    )


PROOFS = (
    *_on_both(
        "failpoints",
        "SIGKILL at every failpoint, at first and later hits: nothing lost, nothing doubled",
    ),
    *_on_both(
        "driver",
        "random commands to the real process, killed at random: what it says stays true",
    ),
    Proof(
        "first-start",
        "SIGKILL while the data directory is made, again and again: whole once it may live",
        full=_tests("tests/crash/test_first_start.py"),
        sample=_tests("tests/crash/test_first_start.py", marker=_DEFAULT),
        full_limit=1800.0,
    ),
    Proof(
        "model",
        "100,000 steps of the state machine with crashes, duplicates, reordering and loss",
        full=(*_tests("tests/model"),),
        sample=_tests("tests/model/test_machine.py", marker=_DEFAULT),
        sample_limit=120.0,
        full_limit=1800.0,
    ),
    Proof(
        "audit",
        "200 versions of a job of 1,000 chunks equal a fold; changed bytes and cut tails are found",
        full=_tests("tests/audit", marker=_ALL),
        sample=_tests("tests/audit/test_flips.py", marker=_DEFAULT, chosen="sample"),
        full_limit=5400.0,
    ),
    Proof(
        "races",
        "cancels against completion, pauses against the last chunk, commands against each other",
        full=_tests("tests/engine/test_races.py"),
        sample=_tests("tests/engine/test_races.py", marker=_DEFAULT),
        full_limit=1800.0,
        sample_limit=120.0,
    ),
    Proof(
        "dry-run",
        "a dry run of 1,000 generated data sets says what then happens, and leaves nothing",
        full=_tests("tests/engine/test_dry_run_is_true.py"),
        sample=_tests("tests/engine/test_dry_run_is_true.py", marker=_DEFAULT),
        full_limit=1800.0,
    ),
    Proof(
        "validation",
        "10,000 annotations validated against a store of 1,000,000: ten queries at most, all rules",
        full=_tests("tests/systems/annotations/validation/test_large_store.py"),
        sample=_tests("tests/systems/annotations/validation/test_large_store.py", marker=_DEFAULT),
        full_limit=1800.0,
        sample_limit=120.0,
    ),
    Proof(
        "batches",
        "500 random batches with failures, lost messages and deaths keep order, reasons and items",
        full=_tests("tests/engine/test_batches_at_random.py"),
        sample=_tests("tests/engine/test_batches_at_random.py", marker=_DEFAULT),
        full_limit=3600.0,
    ),
    Proof(
        "chunk-sizes",
        "automatic chunks cost at most 15 % more than the best fixed ones, on four workloads",
        full=_tests("tests/engine/test_chunk_sizes.py"),
        sample=_tests("tests/unit/domain/test_planning.py", marker=_DEFAULT, chosen="hardly"),
        full_limit=1800.0,
    ),
    Proof(
        "embedded-figures",
        "100,000 and 1,000,000 items, one item, chunks of 100, the demonstration: as promised",
        full=_tests("tests/benchmarks/test_figures.py"),
        sample=_tests("tests/benchmarks/test_ceilings.py", marker=_DEFAULT, chosen="memory"),
        full_limit=1800.0,
        sample_limit=240.0,
    ),
    Proof(
        "scaled-figures",
        "Kafka, two workers: 100,000 items, one item, 100 items behind 1,000,000: as promised",
        full=_tests("tests/benchmarks/test_scaled_figures.py"),
        sample=_tests("tests/benchmarks/test_report.py", marker=_DEFAULT, chosen="scaled"),
        full_limit=3600.0,
        sample_limit=240.0,
    ),
    Proof(
        "cost-of-an-item",
        "an item costs at most a tenth more CPU than before jobs had their whole life",
        full=_tests("tests/benchmarks/test_against.py"),
        sample=_tests("tests/benchmarks/test_ceilings.py", marker=_DEFAULT, chosen="cpu"),
        full_limit=1800.0,
        sample_limit=240.0,
    ),
    # Quick enough to run at its full figure always: no test of it is marked as a long one.
    *(
        Proof(name, claim, full=_tests(path, marker=_DEFAULT), sample=_tests(path, marker=_DEFAULT))
        for name, claim, path in (
            (
                "atomic",
                "10,000 items at once on both databases: readers see none or all; item 9,500 fails",
                "tests/engine/test_atomic.py",
            ),
            (
                "plans",
                "a plan of which a record has changed is refused by name, and nothing is touched",
                "tests/acceptance/test_plan_and_apply.py",
            ),
            (
                "time-left",
                "the interval for the end holds in 70 to 90 % of the samples of 100 simulated jobs",
                "tests/unit/domain/test_metering.py",
            ),
        )
    ),
    _acceptance(
        "undo_figure",
        "undo of 10,000 updates, 137 changed later: 9,863 as before, 137 named with who did it",
        marker=_ALL,
    ),
    _acceptance(
        "failing_well",
        "1 bad of 500 costs 19 calls at most; 250 failed of 10,000 cost 250 calls, at their rate",
        marker=_ALL,
    ),
    _acceptance(
        "caps",
        "caps changed while a job runs are obeyed within 2 s, as its handler sees it",
        _ALL,
    ),
    Proof(
        "waiting",
        "each of ten causes to stand still is named within 5 s",
        full=_WAITING,
        sample=_WAITING,
        full_limit=600.0,
    ),
    _acceptance(
        "sse_reconnect",
        "a client that drops 50 times over two kills sees every event once and in order",
    ),
    _acceptance(
        "sse_clients",
        "three client libraries and a browser, cut 50 times each, see every event of a job once",
    ),
    _acceptance(
        "audience",
        "900 readers are as late with 100 more who never read; 160 KiB of memory a client at most",
        full_limit=1800.0,
    ),
    _acceptance(
        "neighbours",
        "a tenant beyond its limits slows another one's jobs and readings by a fifth at most",
    ),
    *(
        Proof(
            name,
            claim,
            full=_tests("tests/acceptance/test_flat_memory.py", chosen=chosen),
            sample=_tests("tests/acceptance/test_flat_memory.py", marker=_DEFAULT, chosen=chosen),
            full_limit=7200.0,
            sample_limit=180.0,
        )
        for name, claim, chosen in (
            (
                "large-import",
                "1 GB of JSON lines, 1 % broken: exactly the good ones, then all; below 300 MB",
                "import",
            ),
            (
                "large-validation",
                "100,000 annotations validated and made in 1.3 times the memory of 10,000 at most",
                "validated",
            ),
        )
    ),
    Proof(
        "dashboard-large",
        "pages of 100,000 jobs and of 1,000,000 items are there in 1 s; flat memory at 50 events/s",
        full=_tests("tests/dashboard/test_large.py", chosen="full"),
        sample=_tests("tests/dashboard/test_large.py", marker=_DEFAULT, chosen="sample"),
        full_limit=3600.0,
        sample_limit=400.0,
    ),
    Proof(
        "websocket-peer",
        "the package websockets authenticates, subscribes, is told of a job's end, and is refused",
        full=_tests("tests/api/test_websocket_peer.py", marker=_DEFAULT),
        sample=_tests("tests/api/test_websocket_peer.py", marker=_DEFAULT),
    ),
    _acceptance(
        "slow_kill",
        "1,000 items of 200 ms: 50 times as fast as one by one; a kill repeats what was in flight",
    ),
    _acceptance(
        "plugin", "a plug-in of 25 lines gets submit, progress, retry, undo, audit", _DEFAULT
    ),
    Proof(
        "openapi",
        "schemathesis over the whole document, all checks, links followed: 0 failures, no 500",
        full=_tests("tests/openapi/test_trying.py", chosen="whole"),
        sample=_tests("tests/openapi/test_trying.py", marker=_DEFAULT, chosen="sample"),
        full_limit=3600.0,
        sample_limit=300.0,
    ),
    Proof(
        "reference-tools",
        "pycocotools, Ultralytics, seqeval, spaCy, Label Studio see all that is in our files",
        full=_tests(
            "tests/formats/test_reference_tools.py",
            "tests/formats/test_reference_images.py",
            "tests/formats/test_yolo_ultralytics.py",
        ),
        sample=_tests(
            "tests/formats/test_coco.py",
            "tests/formats/test_yolo.py",
            "tests/formats/test_conll.py",
            marker=_DEFAULT,
            chosen="pycocotools or millionth or conll",
        ),
        full_limit=7200.0,
    ),
    Proof(
        "documents",
        "ten times the files and messages drawn by chance: what is written is read, none raises",
        full=(*_DRAWN, "--hypothesis-profile=thorough"),
        sample=_DRAWN,
        full_limit=1800.0,
        sample_limit=120.0,
    ),
    Proof(
        "one-process",
        "1 to 8 coordinators, 3 to 12 partitions: a job's commands and hints reach one process",
        full=_tests("tests/kafka/test_one_process.py"),
        sample=_tests("tests/kafka/test_one_process.py", marker=_DEFAULT),
        full_limit=1800.0,
    ),
    _chaos(
        "kills",
        "SIGKILL of a worker or coordinator half way: done in 12 s; a zombie writes nothing; "
        "paused without workers nothing runs; cancelled without coordinators is 503, and is done",
        marker=_ALL,
    ),
    _chaos(
        "rolling_restart",
        "every process restarted in turn under steady load: nobody refused, no handler run again",
    ),
    _chaos(
        "upgrade",
        "an earlier release replaced process by process under load: nobody refused, none doubled",
    ),
    _chaos(
        "deaths", "SIGKILL at every failpoint in every role on Kafka: nothing lost, nothing doubled"
    ),
    _chaos(
        "database_away",
        "PostgreSQL killed, away, silent or slow; 100 connections cut after COMMIT was sent",
    ),
    _chaos("brokers_away", "all brokers away for up to 3 minutes, one or two of three killed"),
    _chaos("way_to_brokers", "the way to Kafka reset, silent or slow, its broker frozen"),
    _chaos("messages", "messages twice, late, in disorder, elsewhere, lost; a rebalance storm"),
    _chaos("walk", "300 kills at random and 1,000,000 items: none lost, none doubled"),
)

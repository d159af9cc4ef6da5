"""The report tells what held and what failed, and a proof that proves nothing fails."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.proof import figures
from tests.proof.__main__ import main
from tests.proof.catalogue import PROOFS, Command, Proof
from tests.proof.figures import Figure
from tests.proof.report import Setting, written
from tests.proof.results import outdated
from tests.proof.running import CHECKOUT, Outcome, run

WHERE = Setting("python -m tests.proof", "2026-01-01", "`abc`", "a machine", "Python 3")


def _proof(command: Command, limit: float = 30.0) -> Proof:
    return Proof("example", "it holds", command, command, full_limit=limit)


def _python(code: str, limit: float = 30.0) -> Outcome:
    return run(_proof((sys.executable, "-c", code), limit), sample=False)


def _tests(folder: Path, text: str) -> Outcome:
    path = folder / "test_example.py"
    path.write_text(text)
    command = (sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", str(path))
    return run(_proof(command), sample=False)


def test_a_figure_is_found_as_it_was_told(capsys: pytest.CaptureFixture[str]) -> None:
    figures.tell("items repeated", "12 (of 64)", N=1000, seed=7)
    figures.tell("without terms", 1.5)

    assert figures.found(f".{capsys.readouterr().out}F") == [
        Figure("items repeated", "12 (of 64)", "N=1000, seed=7"),
        Figure("without terms", "1.5"),
    ]


def test_a_proof_that_holds_is_told_with_its_figures() -> None:
    outcome = _python("print('.FIGURE kills = 3 (N=9, seed=1)'); print('model: 5 steps')")
    told = written([outcome], WHERE, planned=1, sample=False)

    assert outcome.held
    assert "All 1 proofs hold." in told
    assert "| example | it holds | holds |" in told
    assert "| kills | 3 | N=9, seed=1 |" in told
    assert "\nmodel: 5 steps\n" in told


def test_a_failure_is_told_as_a_failure_and_others_as_they_are() -> None:
    good, bad = _python("pass"), _python("raise SystemExit('the | reason')")
    told = written([good, bad], WHERE, planned=2, sample=False)

    assert "**1 of 2 proofs failed.**" in told
    assert "**FAILED**: ended with 1" in told
    assert "the | reason" in told
    assert "hold." not in told.splitlines()


def test_a_run_that_was_stopped_does_not_look_whole() -> None:
    told = written([_python("pass")], WHERE, planned=3, sample=False)

    assert "**Stopped**: 1 of 3 proofs have run" in told


def test_a_proof_that_takes_too_long_fails() -> None:
    # Whoever was begun in the background is deaf to it.
    hearing = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    said = f"import signal, time; {hearing}; print('begun', flush=True); time.sleep(60)"
    outcome = _python(said, limit=1.0)

    assert outcome.fault == "not done after 1 s"
    assert outcome.output.startswith("begun")
    assert outcome.seconds < 20


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("def test_a(): pass\ndef test_b(): pass\n", ""),
        ("def test_a(): pass\ndef test_b(): assert False\n", "1 of 2 tests failed"),
        ("import pytest\ndef test_a(): pytest.skip('no')\n", "1 tests were skipped"),
        ("", "ended with 5"),
    ],
)
def test_tests_that_fail_or_do_not_run_are_a_failure(tmp_path: Path, text: str, fault: str) -> None:
    outcome = _tests(tmp_path, text)

    assert outcome.fault == fault
    assert outcome.tests == text.count(": pass")


def test_what_the_catalogue_names_is_there() -> None:
    assert len({proof.name for proof in PROOFS}) == len(PROOFS)
    for proof in PROOFS:
        named = [word for word in (*proof.full, *proof.sample) if word.startswith("tests/")]
        assert all((CHECKOUT / word).exists() for word in named), proof.name


def test_every_crash_test_is_part_of_a_proof() -> None:
    named = {word for proof in PROOFS for word in proof.full}
    long = {
        path.relative_to(CHECKOUT).as_posix()
        for path in (CHECKOUT / "tests" / "crash").glob("test_*.py")
        if "pytest.mark.proof" in path.read_text()
    }
    assert long
    assert long <= named


def test_every_sample_is_among_the_tests() -> None:
    """Whoever runs the tests has run the samples: they are chosen among what is run anyway."""
    for proof in PROOFS:
        assert proof.sample[:3] == (sys.executable, "-m", "pytest"), proof.name
        assert proof.sample[proof.sample.index("-m", 3) + 1] == "not proof", proof.name


def test_the_exit_code_and_the_report_tell_of_a_failure(tmp_path: Path) -> None:
    good = _proof((sys.executable, "-c", "pass"))
    bad = replace(_proof((sys.executable, "-c", "raise SystemExit(3)")), name="bad")
    report = tmp_path / "proof.md"

    assert main(["--sample", "--report", str(report)], (good, bad)) == 1
    assert "1 of 2 proofs failed" in report.read_text()
    kept = ["--results", str(tmp_path), "--report", str(report)]
    assert main(["--only", "example", *kept], (good, bad)) == 0
    assert "All 1 proofs hold." in report.read_text()


def test_proofs_that_were_run_apart_are_joined_in_one_report(tmp_path: Path) -> None:
    first = _proof((sys.executable, "-c", "print('FIGURE kills = 3 (N=9)')"))
    second = replace(_proof((sys.executable, "-c", "pass")), name="second")
    third = replace(first, name="third")
    report, results = tmp_path / "proof.md", tmp_path / "results"
    proofs = (first, second, third)

    for name in ("second", "example"):
        assert main(["--only", name, "--results", str(results)], proofs) == 0
    assert main(["--join", "--report", str(report), "--results", str(results)], proofs) == 0

    told = report.read_text()
    assert "**Stopped**: 2 of 3 proofs have run" in told
    assert told.index("## example") < told.index("## second")
    assert "| kills | 3 | N=9 |" in told
    assert "by `python -m tests.proof --only second" in told


def _joined(folder: Path, *proofs: Proof) -> int:
    kept = ["--results", str(folder), "--report", str(folder / "proof.md")]
    return main(["--join", *kept], proofs)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (replace(_proof((sys.executable, "-c", "0")), claim="it holds"), "the command of example"),
        (replace(_proof((sys.executable, "-c", "pass")), claim="it holds twice"), "the claim of"),
    ],
    ids=["another command", "another claim"],
)
def test_a_record_of_something_else_is_not_joined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: Proof, fault: str
) -> None:
    proof = _proof((sys.executable, "-c", "pass"))
    assert main(["--only", "example", "--results", str(tmp_path)], (proof,)) == 0
    assert _joined(tmp_path, proof) == 0
    report = (tmp_path / "proof.md").read_text()

    assert _joined(tmp_path, changed) == 1
    assert fault in (said := capsys.readouterr().err)
    assert "run `python -m tests.proof --only example`" in said
    assert (tmp_path / "proof.md").read_text() == report


def test_a_joined_report_says_when_and_at_which_commit_each_was_run() -> None:
    outcome = _python("pass")
    second = replace(outcome, proof=replace(outcome.proof, name="second"))
    older = replace(WHERE, date="2026-01-01 10:00 UTC", commit=f"`{'a' * 40}` with changes")
    newer = replace(WHERE, date="2026-01-02 10:00 UTC", commit=f"`{'b' * 40}`")
    ran = {"example": older, "second": newer}
    told = written([outcome, second], WHERE, planned=2, sample=False, ran=ran)

    assert "| Proof | What | Result | Tests | Seconds | Run | At |" in told
    assert "| 2026-01-01 10:00 UTC | `aaaaaaaaa` with changes |\n" in told
    assert f"hold. Run at other commits than the newest one, {newer.commit}: 1." in told


def test_every_record_is_of_what_the_catalogue_says_now() -> None:
    assert not outdated(PROOFS, CHECKOUT / "docs" / "proof")


def test_every_proof_is_on_record_and_in_the_report() -> None:
    """A proof without a record has never been run in full: the report would not know of it."""
    records = {path.stem for path in (CHECKOUT / "docs" / "proof").glob("*.json")}
    report = (CHECKOUT / "docs" / "proof.md").read_text()

    assert records == {proof.name for proof in PROOFS}
    for proof in PROOFS:
        assert f"\n| {proof.name} | {proof.claim} | holds |" in report
    assert f"All {len(PROOFS)} proofs hold." in report

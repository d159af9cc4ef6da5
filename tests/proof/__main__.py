"""``python -m tests.proof``: run every long proof and write the report, docs/proof.md.

What each came to is kept in docs/proof/, from where ``--join`` writes the report anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.proof.catalogue import PROOFS, Proof
from tests.proof.report import Setting, setting, written
from tests.proof.results import keep, kept, outdated
from tests.proof.running import CHECKOUT, Outcome, run

REPORT = CHECKOUT / "docs" / "proof.md"
RESULTS = CHECKOUT / "docs" / "proof"


def main(arguments: Sequence[str], proofs: Sequence[Proof] = PROOFS) -> int:
    """Run as asked; returns 1 when a proof failed.

    The report is written anew after each proof, so that what was proven is kept when the
    run is stopped.
    """
    asked = _asked(arguments, proofs)
    chosen = _chosen(asked, proofs)
    where = setting(" ".join(["python -m tests.proof", *arguments]))
    if asked.join:
        return _join(asked, chosen, where)
    outcomes: list[Outcome] = []
    for outcome in _outcomes(asked, chosen):
        outcomes.append(outcome)
        _print(outcome)
        if not asked.sample:
            keep(outcome, where, asked.results)
        if asked.report is not None:
            text = written(outcomes, where, planned=len(chosen), sample=asked.sample)
            asked.report.write_text(text)
    return int(not all(outcome.held for outcome in outcomes))


def _join(asked: argparse.Namespace, chosen: Sequence[Proof], where: Setting) -> int:
    """Write the report of what was kept, unless some of it proves something else by now."""
    if faults := outdated(chosen, asked.results):
        print("proof: nothing is written:", *faults, sep="\n  ", file=sys.stderr)
        return 1
    outcomes, ran = kept(chosen, asked.results)
    text = written(outcomes, where, planned=len(chosen), sample=False, ran=ran)
    (asked.report or REPORT).write_text(text)
    return int(not all(outcome.held for outcome in outcomes))


def _outcomes(asked: argparse.Namespace, chosen: Sequence[Proof]) -> Iterator[Outcome]:
    """In the order of the proofs, each as soon as it and those before it have ended."""
    environment = {"COUNTERMAND_TEST_SEED": str(asked.seed)} if asked.seed is not None else {}
    with ThreadPoolExecutor(asked.side_by_side) as pool:
        yield from pool.map(partial(_outcome, sample=asked.sample, environment=environment), chosen)


def _outcome(proof: Proof, *, sample: bool, environment: Mapping[str, str]) -> Outcome:
    print(f"proof: {proof.name}: {proof.claim}", flush=True)
    return run(proof, sample=sample, environment=environment)


def _asked(arguments: Sequence[str], proofs: Sequence[Proof]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--sample", action="store_true", help="quick seeded samples, no report")
    parser.add_argument("--only", action="append", choices=[proof.name for proof in proofs])
    parser.add_argument("--seed", type=int, help="for all that takes one, instead of its own")
    parser.add_argument(
        "--side-by-side",
        type=int,
        default=1,
        metavar="N",
        help="so many at once; figures of time are then those of a busy machine",
    )
    parser.add_argument(
        "--join",
        action="store_true",
        help="run nothing: write the report of what earlier runs have left in --results",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="where outcomes are kept")
    parser.add_argument("--report", type=Path, help="docs/proof.md when all is run in full")
    asked = parser.parse_args(arguments)
    if asked.report is None and not (asked.sample or asked.only):
        asked.report = REPORT
    return asked


def _chosen(asked: argparse.Namespace, proofs: Sequence[Proof]) -> list[Proof]:
    return [proof for proof in proofs if not asked.only or proof.name in asked.only]


def _print(outcome: Outcome) -> None:
    for figure in outcome.figures:
        print(f"  {figure}")
    for said in outcome.said:
        print(f"  {said}")
    if not outcome.held:
        print(outcome.output)
    result = "holds" if outcome.held else f"FAILED: {outcome.fault}"
    print(f"proof: {outcome.proof.name}: {result} ({outcome.seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Results: what each proof came to is kept by itself, so that a report may join several runs.

All of them in one go take hours; a machine, or a night, may not have them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.proof.catalogue import Command, Proof
from tests.proof.figures import Figure
from tests.proof.report import Setting
from tests.proof.running import CHECKOUT, Outcome


def keep(outcome: Outcome, where: Setting, folder: Path) -> None:
    """Keep the latest outcome of a proof, with where and when it was run.

    The files are committed with the report, so that the next run anywhere joins them; they name
    no path of this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fields = asdict(outcome) | {
        "proof": outcome.proof.name,
        "claim": outcome.proof.claim,
        "command": _portable(outcome.command),
        "output": outcome.output.replace(str(CHECKOUT), "."),
        "where": asdict(where),
    }
    (folder / f"{outcome.proof.name}.json").write_text(json.dumps(fields, indent=1) + "\n")


def _portable(command: Command) -> list[str]:
    """As it is typed on any machine."""
    return ["python", *command[1:]]


def outdated(proofs: Sequence[Proof], folder: Path) -> list[str]:
    """Records that do not prove what the catalogue says now, as sentences.

    Records of before claims were kept have none, and are taken at the word of their command.
    """
    faults: list[str] = []
    for proof in proofs:
        path = folder / f"{proof.name}.json"
        if not path.exists():
            continue
        fields = json.loads(path.read_text())
        now = {"command": _portable(proof.full), "claim": proof.claim}
        faults += [
            f"the {what} of {proof.name} was {fields[what]!r} when it was run, and is {wanted!r} "
            f"now: run `python -m tests.proof --only {proof.name}`"
            for what, wanted in now.items()
            if fields.get(what, wanted) != wanted
        ]
    return faults


def kept(proofs: Sequence[Proof], folder: Path) -> tuple[list[Outcome], dict[str, Setting]]:
    """The outcomes that were kept, in the order of the proofs, and by name where each was run."""
    outcomes: list[Outcome] = []
    ran: dict[str, Setting] = {}
    for proof in proofs:
        path = folder / f"{proof.name}.json"
        if path.exists():
            fields = json.loads(path.read_text())
            ran[proof.name] = Setting(**fields.pop("where"))
            fields.pop("claim", None)
            outcomes.append(
                Outcome(
                    **fields
                    | {
                        "proof": proof,
                        "command": tuple(fields["command"]),
                        "figures": tuple(Figure(**figure) for figure in fields["figures"]),
                        "said": tuple(fields["said"]),
                    }
                )
            )
    return outcomes, ran

"""What README says of every verb: its help has examples, and there is `--json` for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

from streams.cli.main import app
from streams.cli.verb import Verb

DOCUMENTS = {"asyncapi", "openapi"}
"""What these print is JSON already."""


def _verbs(command: Any, *names: str) -> Iterator[tuple[str, Any]]:
    if isinstance(command, TyperGroup):
        for name, verb in command.commands.items():
            yield from _verbs(verb, *names, name)
    else:
        yield " ".join(names), command


def test_every_verb_has_examples_of_itself_and_json() -> None:
    verbs = dict(_verbs(typer.main.get_command(app)))

    assert len(verbs) > 60
    assert {name for name, verb in verbs.items() if not _has_example(name, verb)} == set()
    assert {name for name, verb in verbs.items() if not _takes_json(verb)} == DOCUMENTS


def test_no_verb_passes_over_what_is_given_empty() -> None:
    verbs = dict(_verbs(typer.main.get_command(app)))

    assert {name for name, verb in verbs.items() if not isinstance(verb, Verb)} == set()


def _has_example(name: str, verb: Any) -> bool:
    _, found, examples = verb.help.partition("\n\b\nExample")
    return bool(found) and f"countermand {name}" in examples


def _takes_json(verb: Any) -> bool:
    return any("--json" in parameter.opts for parameter in verb.params)

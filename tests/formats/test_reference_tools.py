"""The reference tools read what we write, and we what they write: seqeval, spaCy, Label Studio.

They are heavy, so they have an environment of their own, made for these proofs alone.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from domain.systems.annotations.formats import conll, label_studio
from domain.systems.annotations.formats.contract import WriteOptions
from domain.systems.annotations.formats.documents import Span, TextDocument
from tests.formats.files import only, written
from tests.formats.tools import environment, run
from tests.proof.figures import tell

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1500)]

HERE = Path(__file__).parent
WORDS = ["Ada", "Zoë", "saw", "in", "the", "London", "नि", "😀", "#tag", "e\u0301t", "5", "Bank"]
LABELS = ["PER", "LOC", "ORG"]


def made_up(number: int) -> TextDocument:
    """A text of words with some spans, adjacent ones of one label among them."""
    words = [WORDS[(number * 7 + place * (1 + number % 5)) % len(WORDS)] for place in range(12)]
    starts = [sum(len(word) + 1 for word in words[:place]) for place in range(13)]
    spans, place = [], number % 3
    while place + 2 <= len(words):
        length = 1 + (number + place) % 2
        spans.append(Span(starts[place], starts[place + length] - 1, LABELS[number % 3]))
        place += length + (number + place) % 3
    return TextDocument(" ".join(words), tuple(spans))


DOCUMENTS = [made_up(number) for number in range(200)]
ENTITIES = [
    [document.content[span.start : span.end], span.label]
    for document in DOCUMENTS
    for span in document.spans
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our files, and what the tools have made of them."""
    folder = tmp_path_factory.mktemp("tools")
    for scheme in ("iob1", "bio", "bioes"):
        file = written(conll.FORMAT, DOCUMENTS, WriteOptions(scheme=scheme))
        (folder / f"{scheme}.conll").write_bytes(file)
    (folder / "tasks.json").write_bytes(written(label_studio.FORMAT, DOCUMENTS))
    python = environment("reference_tools")
    (folder / "seen.json").write_text(run(python, HERE / "reference_tools.py", folder))
    return folder


def seen(folder: Path) -> dict[str, object]:
    last = (folder / "seen.json").read_text().splitlines()[-1]
    return dict(json.loads(last))


def test_seqeval_strict_sees_every_entity_in_every_scheme(folder: Path) -> None:
    expected = {"entities": ENTITIES, "f1": 1.0}
    assert seen(folder)["seqeval"] == {"iob1": expected, "bio": expected, "bioes": expected}
    tell("entities that seqeval sees, strictly, in each of three schemes", len(ENTITIES))


def test_spacy_sees_every_entity(folder: Path) -> None:
    assert seen(folder)["spacy"] == ENTITIES
    tell("entities that spaCy's converter sees", len(ENTITIES))


def test_what_label_studio_converts_comes_back(folder: Path) -> None:
    (out,) = (folder / "CONLL2003").glob("*.conll")
    # Its tokens are cut at punctuation, too, so that they are not set apart by the same blanks.
    found = [
        [one.content[span.start : span.end].replace(" ", ""), span.label]
        for one in only(conll.FORMAT, out.read_bytes())
        if isinstance(one, TextDocument)
        for span in one.spans
    ]
    assert found == [[text.replace(" ", ""), label] for text, label in ENTITIES]
    (out,) = (folder / "JSON_MIN").glob("*.json")
    again = only(label_studio.FORMAT, out.read_bytes())
    assert [(one.content, one.spans) for one in again if isinstance(one, TextDocument)] == [
        (one.content, one.spans) for one in DOCUMENTS
    ]
    tell("entities that come back from Label Studio's converter", len(ENTITIES))

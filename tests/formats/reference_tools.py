"""Reads the files of a folder with the reference tools and prints what they see, as JSON.

It is run by the interpreter of an environment that has them, and knows nothing of ours.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

CONFIG = """
<View>
  <Labels name="label" toName="text">
    <Label value="PER"/><Label value="LOC"/><Label value="ORG"/>
  </Labels>
  <Text name="text" value="$text"/>
</View>
"""


def sentences(path: Path) -> list[list[tuple[str, str]]]:
    """Tokens and tags, in the simplest way that there is."""
    found = []
    for part in path.read_text().replace("-DOCSTART- -X- O O\n", "").split("\n\n"):
        rows = [line.split() for line in part.splitlines() if line]
        if rows:
            found.append([(row[0], row[-1]) for row in rows])
    return found


def by_seqeval(folder: Path) -> dict[str, object]:
    """Entities by the strict reading of each scheme; the score of the file against itself."""
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB1, IOB2, IOBES, Entities

    seen: dict[str, object] = {}
    for name, scheme in (("iob1", IOB1), ("bio", IOB2), ("bioes", IOBES)):
        read = sentences(folder / f"{name}.conll")
        tags = [[tag for _, tag in sentence] for sentence in read]
        entities = [
            [
                " ".join(token for token, _ in sentence[entity.start : entity.end]),
                entity.tag,
            ]
            for sentence, found in zip(read, Entities(tags, scheme).entities, strict=True)
            for entity in found
        ]
        score = float(f1_score(tags, tags, mode="strict", scheme=scheme))
        seen[name] = {"entities": entities, "f1": score}
    return seen


def by_spacy(folder: Path) -> list[list[str]]:
    """Entities of the documents that spaCy's converter makes."""
    from spacy.training.converters import conll_ner_to_docs

    docs = conll_ner_to_docs((folder / "bio.conll").read_text(), n_sents=0, no_print=True)
    return [
        [" ".join(token.text for token in entity), entity.label_]
        for doc in docs
        for entity in doc.ents
    ]


def by_label_studio(folder: Path) -> None:
    """Label Studio's own converter, from our tasks to its CoNLL and its JSON_MIN."""
    from label_studio_sdk.converter import Converter

    for name, call in (("CONLL2003", "convert_to_conll2003"), ("JSON_MIN", "convert_to_json_min")):
        converter = Converter(CONFIG, project_dir=str(folder), download_resources=False)
        out = folder / name
        getattr(converter, call)(str(folder / "tasks.json"), str(out), is_dir=False)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    by_label_studio(folder)
    print(json.dumps({"seqeval": by_seqeval(folder), "spacy": by_spacy(folder)}))

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from domain.errors import InvalidCommand
from streams.cli.demo_texts import (
    Mention,
    find_mentions,
    first_of_each,
    item_of,
    middle_label,
    mistakes,
    mixed,
    python_topics,
    read_texts,
)

TEXTS = {
    "a": "if x is None: raise ValueError('for len')",
    "b": "no words of it: printing, iffy, classy",
    "c": "ünïcode in front: while True",
}


def test_words_are_found_as_words_and_not_within_others() -> None:
    found = {(mention.text, mention.word, mention.label) for mention in find_mentions(TEXTS)}

    assert found == {
        ("a", "if", "keyword"),
        ("a", "is", "keyword"),
        ("a", "None", "keyword"),
        ("a", "raise", "keyword"),
        ("a", "ValueError", "exception"),
        ("a", "for", "keyword"),
        ("a", "len", "function"),
        ("c", "in", "keyword"),
        ("c", "while", "keyword"),
        ("c", "True", "keyword"),
    }


def test_offsets_lead_to_the_word() -> None:
    for mention in find_mentions(TEXTS):
        assert TEXTS[mention.text][mention.start : mention.end] == mention.word


def test_every_python_brings_enough() -> None:
    assert len(find_mentions(python_topics())) > 10_000


def test_an_item_is_what_the_operation_takes() -> None:
    mention = Mention("a", "function", 5, 8, "len")

    assert item_of(mention, {"a": 7}) == {
        "text_id": 7,
        "label": "function",
        "start_char": 5,
        "end_char": 8,
        "selected_text": "len",
    }


@pytest.mark.parametrize(
    ("labels", "middle"), [("kkkkffe", "f"), ("kkf", "f"), ("k", "k"), ("kkkkkfffeettc", "e")]
)
def test_the_middle_label_is_neither_frequent_nor_rare(labels: str, middle: str) -> None:
    assert middle_label([Mention("a", label, 0, 1, "x") for label in labels]) == middle


def test_earlier_work_takes_the_first_of_each_and_leaves_some() -> None:
    mentions = find_mentions(TEXTS)

    assert {mention.word for mention in first_of_each(mentions)} == {"if", "in"}
    assert first_of_each(mentions[:1]) == []


def test_mistakes_are_of_two_kinds_and_none_is_right() -> None:
    mentions = find_mentions(TEXTS)
    ids = {"a": 1, "b": 2, "c": 3}
    names = {number: name for name, number in ids.items()}

    wrong = mistakes(mentions, TEXTS, ids, Random(1))

    assert Counter(mistake.reason for mistake in wrong) == {"wording": 1, "span": 1}
    for mistake in wrong:
        item = mistake.item
        content = TEXTS[names[item["text_id"]]]
        assert content[item["start_char"] : item["end_char"]] != item["selected_text"]
        assert (item["end_char"] > len(content)) == (mistake.reason == "span")


def test_wrong_items_are_spread_and_known_by_position() -> None:
    mentions = find_mentions(python_topics())[:1000]
    ids = {mention.text: number for number, mention in enumerate(mentions)}
    right = [item_of(mention, ids) for mention in mentions]
    wrong = mistakes(mentions, python_topics(), ids, Random(2))

    items, places = mixed(right, wrong, Random(3))

    assert len(items) == len(right) + len(wrong)
    assert {place: items[place] for place in places} == {
        place: mistake.item for place, mistake in places.items()
    }
    assert [item for place, item in enumerate(items) if place not in places] == right


def test_the_same_seed_makes_the_same_mistakes() -> None:
    mentions = find_mentions(TEXTS)
    ids = {"a": 1, "b": 2, "c": 3}

    assert mistakes(mentions, TEXTS, ids, Random(5)) == mistakes(mentions, TEXTS, ids, Random(5))


class TestFiles:
    def test_a_text_file_is_one_text(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("while True: pass")

        assert read_texts([tmp_path / "notes.txt"]) == {"notes.txt": "while True: pass"}

    def test_a_json_object_is_many(self, tmp_path: Path) -> None:
        (tmp_path / "all.json").write_text(json.dumps({"a": "if", "b": "else", "empty": " "}))

        assert read_texts([tmp_path / "all.json"]) == {"a": "if", "b": "else"}

    @pytest.mark.parametrize("content", ["[1]", '{"a": 1}', "{"])
    def test_other_json_is_refused(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "all.json").write_text(content)

        with pytest.raises(InvalidCommand, match=r"all\.json"):
            read_texts([tmp_path / "all.json"])

    def test_what_is_no_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")

        with pytest.raises(InvalidCommand, match="as UTF-8 text"):
            read_texts([tmp_path / "picture.png"])

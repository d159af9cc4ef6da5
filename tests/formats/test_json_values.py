"""Values of JSON files: what is no JSON, and numbers that no answer could have."""

from __future__ import annotations

import json

import pytest

from domain.systems.annotations.formats.json_array import FORMAT as JSON
from domain.systems.annotations.formats.json_lines import FORMAT as JSONL
from domain.systems.annotations.formats.json_values import parsed
from domain.systems.annotations.formats.mapping import parsed_mapping
from domain.systems.annotations.formats.validity import Unfit
from tests.formats.files import good_and_bad, rejects_file

MOST, LEAST = 2**64 - 1, -(2**63)


def refused(text: str) -> Unfit:
    with pytest.raises(Unfit) as caught:
        parsed(text, 64)
    return caught.value


def test_whole_numbers_of_64_bits_are_taken_as_they_are() -> None:
    value = [MOST, LEAST, 2**53 + 1, 1e308, {"a": -1}]
    assert parsed(json.dumps(value), 64) == value


@pytest.mark.parametrize(
    "number",
    [str(MOST + 1), str(LEAST - 1), "9" * 21, "9" * 400, "-" + "9" * 400, "-" + "9" * 5_000],
    ids=["above", "below", "21 digits", "far above", "far below", "5000 digits"],
)
@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("{}", "the value"),
        ('{{"n": {}}}', "/n"),
        ('[0, {{"a/b~": [1.5, {}]}}]', "/1/a~1b~0/1"),
    ],
)
def test_one_beyond_them_is_refused_where_it_stands(number: str, text: str, at: str) -> None:
    fault = refused(text.format(number))
    assert fault.code == "number_out_of_range"
    assert fault.message == f"{at}: a whole number beyond 64 bits; give it as a text"


def test_what_is_no_json_besides_is_said_first() -> None:
    assert refused(f'{{"n": {MOST + 1}, "m" 1}}').code == "not_json"
    assert refused(f'{{"n": {MOST + 1}, "m": NaN}}').code == "not_json"
    assert refused(f"[{'9' * 5_000}, NaN]").code == "not_json"


def test_no_message_names_a_function_of_python() -> None:
    wrong = f'{{"content":"a","n":{"9" * 5_000}}}'
    (bad,) = good_and_bad(JSONL, f"{wrong}\n".encode())[1]
    said = "/n: a whole number beyond 64 bits; give it as a text"
    assert (bad.code, bad.message) == ("number_out_of_range", said)


def test_a_number_that_no_answer_could_have_costs_its_text_and_comes_back() -> None:
    wrong = f'{{"content":"x","annotations":[],"metadata":{{"id":{2**128 - 1}}}}}'
    file = f'{wrong}\n{{"content":"y"}}\n'.encode()
    good, bad = good_and_bad(JSONL, file)
    assert len(good) == 1
    assert [(one.line, one.code) for one in bad] == [(1, "number_out_of_range")]
    assert bad[0].message.startswith("/metadata/id: ")
    assert rejects_file(JSONL, file).decode() == f"{wrong}\n"
    assert good_and_bad(JSON, f"[{wrong}]".encode())[1][0].code == "number_out_of_range"


@pytest.mark.parametrize("value", [MOST + 1, [float("nan")], {"a": float("inf")}])
def test_no_mapping_brings_one_in(value: object) -> None:
    with pytest.raises(ValueError, match=r"field mapping, 'metadata': .*; give"):
        parsed_mapping({"metadata": {"constant": {"n": value}}})

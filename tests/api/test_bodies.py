"""JSON is read strictly, and what is accepted can travel on."""

from __future__ import annotations

import json
import threading
from typing import Any

import orjson
import pytest

from api.bodies import LARGE, encode, parse
from api.problems import RequestRefused
from tests.api.conftest import Site
from tests.api.test_routes import submitted


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "Expecting value"),
        (b"{", "line 1"),
        (b'{"a":1,"a":2}', "'a' stands twice"),
        (b'{"x":[{"deep":1,"deep":1}]}', "'deep' stands twice"),
        (b"[NaN]", "NaN is no JSON"),
        (b"[-Infinity]", "-Infinity is no JSON"),
        (b"[1e999]", "too large for a double"),
        (b"[" + b"9" * 5000 + b"]", "limit"),
        (b'"\xff"', "byte 1 is not UTF-8"),
        (b"\xef\xbb\xbf{}", "Expecting value"),
        (b"[" * 100_000, "nested too deeply"),
        (b"{} {}", "Extra data"),
        (b"'a'", "Expecting value"),
    ],
)
def test_malformed_json_is_refused_with_its_place(body: bytes, says: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse(body)
    assert refused.value.problem.status == 400
    assert refused.value.problem.code == "malformed_body"
    assert says in refused.value.problem.detail


def test_the_refusal_of_a_long_key_is_short() -> None:
    key = "k" * 10_000
    with pytest.raises(RequestRefused) as refused:
        parse(f'{{"{key}":1,"{key}":2}}'.encode())
    assert len(refused.value.problem.detail) < 300


@pytest.mark.parametrize("value", [None, 1, -1.5, 'ä\n"\\[{', [], {}, {"a": [1, {"b": None}]}])
def test_json_comes_through_unchanged(value: object) -> None:
    assert parse(encode(value, 64)) == value


@pytest.mark.parametrize(("value", "says"), [(2**64, "64-bit"), ("\ud800", "surrogates")])
def test_what_cannot_travel_on_is_refused_with_a_pointer(value: object, says: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        encode({"a": value}, 64, "/items/7")
    assert refused.value.problem.pointer == "/items/7"
    assert says in refused.value.problem.detail


def nested(levels: int) -> object:
    value: object = 1
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


@pytest.mark.parametrize("levels", [65, 200, 900])
def test_too_many_levels_are_refused(levels: int) -> None:
    with pytest.raises(RequestRefused):
        encode(nested(levels), 64)


def test_as_many_levels_as_allowed_are_fine() -> None:
    encode(nested(64), 64)


def test_brackets_in_strings_and_side_by_side_are_no_levels() -> None:
    encode({"text": '[[[{{{"\\' * 100, "list": [[], {}] * 100}, 64)


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads in which large bodies were read."""
    found: list[threading.Thread] = []
    plain = json.JSONDecoder.decode

    def decode(self: json.JSONDecoder, text: str, *more: Any) -> Any:
        if len(text) >= LARGE:
            found.append(threading.current_thread())
        return plain(self, text, *more)

    monkeypatch.setattr(json.JSONDecoder, "decode", decode)
    return found


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("retry", {"items": list(range(20_000))}),
        ("undo", {"items": list(range(20_000))}),
        ("edit", {"items": {str(number): {"n": number} for number in range(5_000)}}),
        ("adjust", {"reason": "x" * LARGE}),
    ],
)
async def test_while_a_large_body_is_read_others_are_answered(
    site: Site, readers: list[threading.Thread], verb: str, body: Any
) -> None:
    job_id = await submitted(site)
    headers = {"Content-Type": "application/json"}
    path = f"/api/v1/jobs/{job_id}/{verb}"
    async with site.client.post(path, data=orjson.dumps(body), headers=headers) as response:
        await response.read()
    assert len(readers) == 1
    assert threading.main_thread() not in readers

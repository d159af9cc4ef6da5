"""Few items travel in the command, and come out of it byte by byte as they were sent."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.commands import InlineItems, JobSpec, SubmitJob
from streams.envelope import decode_command, encode
from streams.stores.payloads import unchanged_items

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.lists(values.map(orjson.dumps), min_size=1, max_size=6))
def test_what_travels_comes_out_as_it_was(lines: list[bytes]) -> None:
    items = unchanged_items(b"\n".join(lines) + b"\n\n")
    assert items is not None
    command = SubmitJob(
        command_id="c",
        job_id="j",
        tenant="t",
        actor="a",
        spec=JobSpec(operation="a.b"),
        source=InlineItems(items=tuple(items)),
    )
    read = decode_command(encode(command))
    assert isinstance(read, SubmitJob)
    assert isinstance(read.source, InlineItems)
    assert [orjson.dumps(item) for item in read.source.items] == lines


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b'{"a": 1}',
        b'{"a":1,"a":2}',
        b"123456789012345678901234567890",
        b"1.0e5",
        b'"\\u00e9"',
        b'"\xff"',
        b"NaN",
        b"[" * 100 + b"]" * 100,
    ],
)
def test_what_would_come_out_otherwise_is_stored_first(line: bytes) -> None:
    assert unchanged_items(b"1\n" + line + b"\n") is None

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from countermand_client.sse import EventParser, ServerEvent


def parsed(*blocks: bytes) -> list[ServerEvent]:
    parser = EventParser()
    return [event for block in blocks for event in parser.feed(block)]


def test_an_event_has_its_name_id_and_data() -> None:
    assert parsed(b'event: job.paused\nid: 7\ndata: {"a":1}\n\n') == [
        ServerEvent("job.paused", '{"a":1}', "7")
    ]


def test_heartbeats_and_retry_are_no_events() -> None:
    assert parsed(b"retry: 1000\n\n: still here\n\n") == []


def test_progress_has_no_id_even_after_an_event_with_one() -> None:
    first, second = parsed(b"id: 3\ndata: x\n\nevent: progress\ndata: y\n\n")

    assert (first.id, second.id) == ("3", "")


def test_data_of_several_lines_is_joined() -> None:
    assert parsed(b"data: a\ndata:b\n\n")[0].data == "a\nb"


def test_an_unfinished_event_waits() -> None:
    assert parsed(b"id: 1\ndata: x\n") == []


_FIELDS = st.sampled_from(
    ["event: job.paused", "id: 12", "data: {}", "data: é€", ": comment", "", "retry: 5", "data"]
)


@given(st.lists(_FIELDS), st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(0, 200)))
def test_where_the_bytes_are_cut_makes_no_difference(
    lines: list[str], end: str, cuts: list[int]
) -> None:
    # The last line end is doubled by a comment, as a lone CR may be half of a CRLF.
    text = (end.join([*lines, "", ": end", "", ""]) + ": last\n").encode()
    places = sorted({0, *(cut % (len(text) + 1) for cut in cuts), len(text)})
    blocks = [text[a:b] for a, b in pairwise(places)]

    assert parsed(*blocks) == parsed(text)

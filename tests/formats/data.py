"""Documents as hypothesis makes them up, and as tests write them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from domain.systems.annotations.formats.documents import Span, TextDocument
from domain.systems.annotations.importing import OF_FILE

# The same examples each time: a machine that is busy, or a rare one, fails nobody's change.
STEADY = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)

# What breaks readers: beyond the basic plane, combining, joined, right to left, odd blanks, the
# line ends of Unicode that end no line, what formats use as their own marks.
_ODD = (
    "😀👩🏽\u200d🚀e\u0301नि\u202eא\u00a0\u2028\u0085\x0b\x0c\x1c\t\r\n"
    " \"'\\,;|#<>&=+-@{}[]/\ufffe\ufeff"
)
characters = st.one_of(
    st.sampled_from(_ODD),
    st.characters(codec="utf-8", exclude_characters="\0"),
    st.sampled_from("abc xyz "),
)
texts = st.text(characters, min_size=1, max_size=40)
labels = st.one_of(
    st.sampled_from(["PER", "ORG", "B-PER", "O", "a label", "étiquette"]), texts
).filter(str.strip)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(characters, max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
_names = st.one_of(
    st.sampled_from(
        ["id", "text", "content", "label", "meta", "metadata", "key", "data", "source"]
    ),
    st.text(characters, min_size=1, max_size=5),
).filter(
    # What only a file knows is kept there, so nobody else may; hypothesis draws what our modules
    # name, and which of them are there depends on the tests before.
    lambda name: name != OF_FILE
)
metadata = st.dictionaries(_names, json_values, max_size=3)
scores = st.none() | st.floats(0, 1)


@st.composite
def spans(draw: st.DrawFn, content: str) -> Span:
    start = draw(st.integers(0, len(content) - 1))
    end = draw(st.integers(start + 1, len(content)))
    return Span(start, end, draw(labels), draw(scores), draw(metadata))


@st.composite
def documents(draw: st.DrawFn) -> TextDocument:
    content = draw(texts)
    return TextDocument(
        content,
        tuple(draw(st.lists(spans(content), max_size=4))),
        draw(st.none() | st.sampled_from(["", "7", "doc-1"]) | texts),
        tuple(draw(st.lists(labels, max_size=2))),
        draw(metadata),
    )


def plain(number: int) -> TextDocument:
    """A document that every format keeps whole, but for its key."""
    return TextDocument(
        f"Ada Lovelace wrote note {number} in London",
        (
            Span(0, 12, "PER"),
            Span(
                len(f"Ada Lovelace wrote note {number} in "),
                len(f"Ada Lovelace wrote note {number} in London"),
                "LOC",
            ),
        ),
    )


def many(count: int) -> Iterator[TextDocument]:
    return map(plain, range(count))


def ordered(document: TextDocument) -> TextDocument:
    """The document with its spans in one order: a set of them is what it has."""
    return replace(document, spans=tuple(sorted(document.spans, key=repr)))

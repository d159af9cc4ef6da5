"""Rules of an annotation: where it may stand and what it may name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.outcomes import Failed


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a project that a chunk names."""

    project_id: int
    ids: frozenset[int] = frozenset()
    by_name: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)

    def resolve(self, label_id: int | None, name: str | None) -> int | Failed:
        """The id of the label that an item names by its id or by its name."""
        if label_id is not None and name is None:
            return label_id if label_id in self.ids else self._unknown(f"{label_id}", "/label_id")
        if name is not None and label_id is None:
            found = self.by_name.get(name)
            return self._unknown(repr(name), "/label") if found is None else found
        how = "not at all" if name is None else "twice"
        return Failed(
            "invalid", f"the label is named {how}; name it by label_id or by label", "/label_id"
        )

    def _unknown(self, label: str, pointer: str) -> Failed:
        return Failed(
            "label_not_found",
            f"project {self.project_id} has no label {label}; create it, then retry",
            pointer,
            retryable=True,
        )


def text_not_found(text_id: int, project_id: int) -> Failed:
    """The text is not there, or is another project's."""
    return Failed(
        "text_not_found",
        f"project {project_id} has no text {text_id}; create it, then retry",
        "/text_id",
        retryable=True,
    )


def selection(content: str, start: int, end: int, selected: str | None) -> str | Failed:
    """The text of a span, in code points; ``selected``, when given, must be that text."""
    if not start < end <= len(content):
        return _out_of_range(start, end, len(content))
    found = content[start:end]
    if selected is not None and selected != found:
        return Failed(
            "text_mismatch",
            f"selected_text is {_short(selected)}, the text has {_short(found)} there; "
            "correct the offsets (code points, from 0) or leave selected_text out",
            "/selected_text",
        )
    return found


def _out_of_range(start: int, end: int, length: int) -> Failed:
    if start >= end:
        return Failed(
            "span_out_of_range",
            f"start_char {start} must be less than end_char {end}; correct them",
            "/start_char",
        )
    return Failed(
        "span_out_of_range",
        f"end_char {end} is beyond the text's {length} characters; correct it",
        "/end_char",
    )


def _short(text: str, limit: int = 40) -> str:
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")

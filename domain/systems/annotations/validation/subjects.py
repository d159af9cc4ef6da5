"""Subjects: the annotations that a run examines, and what is found of them.

Kept as columns, one entry an item, because a run has ten thousand of them and nothing to say
of most.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from domain.systems.annotations.validation.issues import Issue, Rule


class Subject(Protocol):
    """What an annotation is, or would become."""

    @property
    def text_id(self) -> int: ...  # noqa: D102 - as on the wire
    @property
    def start_char(self) -> int: ...  # noqa: D102
    @property
    def end_char(self) -> int: ...  # noqa: D102
    @property
    def label_id(self) -> int | None: ...  # noqa: D102
    @property
    def label(self) -> str | None: ...  # noqa: D102
    @property
    def selected_text(self) -> str | None: ...  # noqa: D102
    @property
    def confidence_score(self) -> float | None: ...  # noqa: D102
    @property
    def metadata(self) -> Mapping[str, Any] | None: ...  # noqa: D102


Ends = tuple[bool, bool]
"""Something of the start and of the end of a span."""


@dataclass(slots=True)
class Batch:
    """The items of one run in their project.

    ``own`` are the ids of their annotations, 0 for one that is not there yet. ``settled`` says
    that they are as the store has them: then each is compared with all of the store, and not
    with the others of the batch, which are in it.
    """

    project_id: int
    items: list[Subject]
    own: Sequence[int]
    settled: bool = False
    positions: Sequence[int] = ()
    """Their places in a job that writes nothing, and must know what its other chunks have seen."""
    places: Sequence[int] = ()
    """Their places in the job, by which others are told of them; without them, those in here."""
    utf16: Sequence[Ends] = ()
    """Which offsets of each item count UTF-16 units as long as its text is not at hand."""
    selected: list[str | None] = field(default_factory=list)
    """The text of each span; ``None`` where there is none."""
    labels: list[int | None] = field(default_factory=list)
    """The id of each label; ``None`` where it is not found."""
    names: Mapping[int, str] = field(default_factory=dict)
    """The names of the labels, by id."""
    issues: dict[int, list[Issue]] = field(default_factory=dict)
    """By the place of the item; those without an issue are not in it."""
    refused: set[int] = field(default_factory=set)
    """The items that take no effect, as far as it is known."""
    about: dict[int, set[int]] = field(default_factory=dict)
    """By the place of an item, those before it in the batch that its issues are about."""
    is_last_look: bool = False
    """Whether those that are still to be changed count as staying where they are, too."""
    repeated: Mapping[int, list[int]] = field(default_factory=dict)
    """By the annotation that several of the items are about, those, in order."""
    _turns: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        about: dict[int, list[int]] = {}
        for index, key in enumerate(self.own):
            if key:
                about.setdefault(key, []).append(index)
        self.repeated = {key: those for key, those in about.items() if len(those) > 1}
        self._turns = {
            index: turn for those in self.repeated.values() for turn, index in enumerate(those)
        }

    def add(self, index: int, rule: Rule, pointer: str, message: str) -> None:
        """One more issue of an item."""
        issue = Issue(rule, pointer, message)
        found = self.issues.get(index)
        if found is None:
            self.issues[index] = [issue]
        else:
            found.append(issue)

    def item(self, index: int) -> str:
        """What others are told of an item of the same chunk."""
        return f"item {self.places[index] if self.places else index} of the same chunk"

    def is_of_one(self, index: int, other: int) -> bool:
        """Whether two items are about the same annotation, which is not in its own way."""
        return self.own[index] == self.own[other] != 0

    def order(self, index: int) -> tuple[int, int]:
        """When an item is worked: a job that writes has no annotation twice in a turn."""
        return self._turns.get(index, 0), index

    def in_turns(self, indexes: Sequence[int]) -> list[list[int]]:
        """Items, cut by their turns; those that are refused for themselves have had one as well."""
        if not self.repeated:
            return [list(indexes)]
        turns: dict[int, list[int]] = {}
        for index in indexes:
            turns.setdefault(self._turns.get(index, 0), []).append(index)
        return [turns[turn] for turn in sorted(turns)]

    def add_about(self, index: int, other: int) -> None:
        """An issue of an item is about another one, before it in the batch."""
        self.about.setdefault(index, set()).add(other)

    def forget(self, indexes: Iterable[int], known: Mapping[int, int]) -> None:
        """Leave each of the items with as many of its issues as were known; 0 for none."""
        for index in indexes:
            if index in self.issues:
                del self.issues[index][known.get(index, 0) :]
                if not self.issues[index]:
                    del self.issues[index]

    def sound(self) -> Sequence[int]:
        """The items that have a span of a text and a label, in order."""
        both = zip(self.selected, self.labels, strict=True)
        return [
            index
            for index, (selected, label) in enumerate(both)
            if selected is not None and label is not None
        ]

    @property
    def changed(self) -> Collection[int]:
        """The annotations whose rows in the store are no longer what they will be."""
        if self.settled or self.is_last_look:
            return ()
        return [key for index, key in enumerate(self.own) if key and index not in self.refused]

"""What an undo is to put back: one goal for each record, and which items belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from streams.stores.records.images import Cells, Images, Kind, decode

RecordKey = tuple[str, int]
"""Table and id."""


@dataclass(slots=True)
class Goal:
    """The state of one record before the target wrote to it.

    ``cells`` are the values of ``columns``, or ``None`` when the record was not there.
    ``order`` is the place of its first write among the batches; ``left`` is the version
    that the last write left, ``gone`` whether that deleted it; ``positions`` are all items
    that wrote to it.
    """

    table: str
    id: int
    order: int
    columns: tuple[str, ...]
    cells: Cells | None
    left: int
    gone: bool
    positions: list[int]

    @property
    def name(self) -> str:
        """How a conflict names the record."""
        return f"{self.table}/{self.id}"


@dataclass(slots=True)
class Group:
    """Items that are put back together or not at all, with their records."""

    positions: list[int] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)


def goals_of(images: Images) -> list[Goal]:
    """One goal a record: of several writes the first before-image counts."""
    goals: dict[RecordKey, Goal] = {}
    for order, batch in enumerate(images.batches):
        gone = batch.kind is Kind.DELETED
        rows: Sequence[Cells | None] = batch.rows or [None] * len(batch.ids)
        for key, version, position, cells in zip(
            batch.ids, batch.versions, batch.positions, rows, strict=True
        ):
            goal = goals.get((batch.table, key))
            if goal is None:
                goals[batch.table, key] = Goal(
                    batch.table, key, order, batch.columns, cells, version, gone, [position]
                )
            else:
                goal.left, goal.gone = version, gone
                goal.positions.append(position)
    return list(goals.values())


def groups_of(goals: Sequence[Goal], together: Sequence[Sequence[int]]) -> list[Group]:
    """Goals by item; items that share a record, and those of ``together``, are one group.

    The latest writes come first, as far as the items of a group allow.
    """
    roots = _Roots()
    linked: list[Sequence[int]] = [goal.positions for goal in goals if len(goal.positions) > 1]
    linked += together
    members: dict[int, set[int]] = {}
    for positions in linked:
        roots.join(positions)
    for positions in linked:
        members.setdefault(roots.of(positions[0]), set()).update(positions)
    groups = {root: Group(sorted(found)) for root, found in members.items()}
    for goal in sorted(goals, key=_order, reverse=True):
        root = roots.of(goal.positions[0])
        group = groups.get(root)
        if group is None:
            group = groups[root] = Group([root])
        group.goals.append(goal)
    return sorted(groups.values(), key=_last_order, reverse=True)


def fellows_of(images: bytes | None) -> list[list[int]]:
    """The items of a chunk that are put back only together, as its before-images have them."""
    if images is None:
        return []
    found = decode(images)
    groups = groups_of(goals_of(found), found.together)
    return [group.positions for group in groups if len(group.positions) > 1]


def _last_order(group: Group) -> int:
    return group.goals[0].order if group.goals else -1


def _order(goal: Goal) -> int:
    return goal.order


class _Roots:
    """Which positions are joined, directly or through others."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}

    def of(self, position: int) -> int:
        parents = self._parents
        while (parent := parents.get(position, position)) != position:
            # Halving the way keeps the next look-up short.
            parents[position] = position = parents.get(parent, parent)
        return position

    def join(self, positions: Sequence[int]) -> None:
        first = self.of(positions[0])
        for position in positions[1:]:
            self._parents[self.of(position)] = first

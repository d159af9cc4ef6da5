"""The names of YOLO's classes: ``data.yaml`` or a list of names, one a line.

Of ``data.yaml`` the names are read and nothing else: its paths say where the files are on
somebody's machine, and are never followed. Every scalar stays the text that it is, so a class
named ``no`` or ``07`` keeps its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from domain.systems.annotations.formats.archives import Members
from domain.systems.annotations.formats.contract import FileRefused

LISTING = "data.yaml"
PLAIN = "classes.txt"
SIZE = 1024 * 1024

_LISTINGS = (LISTING, "data.yml", "dataset.yaml", "dataset.yml")
_PLAIN = (PLAIN, "obj.names", "classes.names", "_darknet.labels")
_PLACE = re.compile(r"^[0-9]{1,6}$", re.ASCII)
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_EVENTS = 200_000
_DEPTH = 20


def names_of(members: Members) -> dict[int, str]:
    """The name of each class; raises FileRefused where nothing tells them."""
    for known in (_LISTINGS, _PLAIN):
        found = [name for name in members.names if name.rsplit("/", 1)[-1].lower() in known]
        for name in sorted(found, key=lambda name: (name.count("/"), name))[:1]:
            data = members.read(name, SIZE)
            names = _in_lines(data) if known is _PLAIN else _in_yaml(name, data)
            if names is not None:
                return names
    raise FileRefused(
        f"nothing in the archive names the classes; add {LISTING} with names, or {PLAIN} with one"
        " name a line, the first of class 0"
    )


def as_yaml(names: Mapping[int, str]) -> bytes:
    """A listing that training tools read; it lies beside ``images`` and ``labels``."""
    content = {"train": "images", "val": "images", "names": dict(names)}
    # As it is where it can be read; a line end of Unicode would be one of YAML as well.
    plain = all(name.isprintable() for name in names.values())
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=plain, encoding="utf-8")


def as_lines(names: Mapping[int, str]) -> bytes | None:
    """One name a line, none of them on several; ``None`` where numbers are missing."""
    if list(names) != list(range(len(names))):
        return None
    return "".join(" ".join(name.split()) + "\n" for name in names.values()).encode()


def _in_yaml(name: str, data: bytes) -> dict[int, str] | None:
    try:
        _require_tame(name, data)
        # This loader makes texts, lists and mappings only.
        content = yaml.load(data, Loader=_LOADER)  # noqa: S506
    except (yaml.YAMLError, UnicodeError, RecursionError, ValueError) as error:
        if isinstance(error, FileRefused):
            raise
        where = " ".join(str(error).split())[:200]
        raise FileRefused(f"{name!r} is no YAML: {where}; correct it") from None
    listed = content.get("names") if isinstance(content, Mapping) else None
    if listed is None:
        return None
    if isinstance(listed, list) and all(isinstance(one, str) for one in listed):
        return dict(enumerate(listed))
    if isinstance(listed, Mapping) and all(
        _PLACE.match(place) and isinstance(one, str) for place, one in listed.items()
    ):
        return {int(place): one for place, one in listed.items()}
    raise FileRefused(
        f"names in {name!r} must be a list of names, or a name for each number; correct it"
    )


def _require_tame(name: str, data: bytes) -> None:
    """Refuse what grows while it is loaded: references to itself, and nesting without end."""
    depth = 0
    for count, event in enumerate(yaml.parse(data, Loader=_LOADER)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise FileRefused(f"{name!r} refers to itself by an alias; write it out")
        if depth > _DEPTH or count > _EVENTS:
            raise FileRefused(f"{name!r} is nested too deep or too long; leave the names only")


def _in_lines(data: bytes) -> dict[int, str] | None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", text)]
    return {place: line for place, line in enumerate(lines) if line} or None

"""The images that files of Pascal VOC are of: which of an archive belong to them, and their names.

There may be as many images of one name as there are folders, and as many files that look for
theirs, so images are found by their folders and not compared one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from domain.systems.annotations.formats.archives import MemberDamaged, Members, is_hidden
from domain.systems.annotations.formats.documents import ImageDocument
from domain.systems.annotations.formats.image_sizes import is_image, size_of
from domain.systems.annotations.formats.validity import Unfit, shown

SAME_NAME = "same_name"
"""The code of a file whose image is another one than that of a file before, so called."""

_OF_IMAGES = re.compile(r"images/[^/]*$", re.I)
_DEEP = 16
"""Of images in more folders only one that lies beside its file is found among several."""

Folders = tuple[str, ...]
"""Those that a file is in, sorted: images and files may have theirs in another order."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A file, the image in the archive that belongs to it, and the size that it has."""

    file: str | None
    member: str | None
    size: tuple[int, int]

    def may_be(self, other: _Given) -> bool:
        """Whether two files whose images have one name are of the same image."""
        if self is other or (self.member and other.member):
            return self.member == other.member
        own, others = (_base(each.file or "") for each in (self, other))
        # Two that are called alike in two folders are of the images of these folders.
        return self.size == other.size and own != others


class Images:
    """The images that lie in the same archive, for their sizes and names."""

    def __init__(self, members: Members | None) -> None:
        self._members = members
        self._by_base: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for name in () if members is None else members.names:
            if is_image(name) and not is_hidden(name):
                self._by_base.setdefault(_base(name), []).append(name)
                self._by_stem.setdefault(_stem(name), []).append(name)
        self._nearby: dict[tuple[str, bool], _Nearby] = {}
        self._given: dict[str, _Given] = {}

    def give(self, image: ImageDocument, file: str | None) -> None:
        """Note what image a file is of; raises Unfit where one before is of another so called."""
        size = (image.width, image.height)
        given = _Given(file, self.named(file, image.file_name) or self.named(file), size)
        if not given.may_be(self._given.setdefault(image.file_name, given)):
            raise Unfit(
                SAME_NAME,
                f"a file before this one is of another image {shown(image.file_name)}; put the"
                " folder of this one before its name in filename",
            )

    def named(self, file: str | None, called: str | None = None) -> str | None:
        """The image that belongs to a file, or is called so there, whatever its suffix is.

        The one in its folder or in one beside that; one from elsewhere if no other has its name.
        """
        if file is None:
            return None
        whole = called is not None and called in self._by_base
        name = called if called is not None and whole else _stem(called or file)
        alike = (self._by_base if whole else self._by_stem).get(name, [])
        if len(alike) < 2:
            return next(iter(alike), None)
        if (name, whole) not in self._nearby:
            self._nearby[name, whole] = _Nearby(alike)
        return self._nearby[name, whole].of(file)

    def size(self, file: str | None, called: str | None = None) -> tuple[int, int] | None:
        """The size of the image that belongs to a file, or is called so there."""
        name = self.named(file, called)
        if name is None or self._members is None:
            return None
        try:
            return size_of(self._members, name)
        except MemberDamaged:
            return None


class _Nearby:
    """Images of one name in several folders, by these, and by these but for one of them."""

    def __init__(self, images: Iterable[str]) -> None:
        self._in: dict[Folders, list[str]] = {}
        self._beside: dict[Folders, list[str]] = {}
        for image in images:
            folders = tuple(sorted(_folders(image)))
            _add(self._in, folders, image)
            for fewer in _but_one(folders):
                _add(self._beside, fewer, image)

    def of(self, file: str) -> str | None:
        """The one in the folders of a file, else in these and one more or less, or with another."""
        folders = tuple(sorted(_folders(file)))
        fewer = _but_one(folders)
        places = (
            [self._in.get(folders, [])],
            [self._beside.get(folders, []), *(self._in.get(few, []) for few in fewer)],
            [self._beside.get(few, []) for few in fewer],
        )
        nearest = next(filter(None, map(_first, map(chain.from_iterable, places))), [])
        return nearest[0] if len(nearest) == 1 else None


def _add(images: dict[Folders, list[str]], folders: Folders, image: str) -> None:
    images[folders] = _first([*images.get(folders, ()), image])


def _first(images: Iterable[str]) -> list[str]:
    """The first of images that are equally near, and one in another folder where there is one."""
    alike = list(images)
    # Masks lie beside the photographs, and are called as these are.
    preferred = [one for one in alike if _OF_IMAGES.search(one)] or alike
    elsewhere = (one for one in preferred if _folders(one) != _folders(preferred[0]))
    return [*preferred[:1], *([] if (other := next(elsewhere, None)) is None else [other])]


def _but_one(folders: Folders) -> set[Folders]:
    """The folders without each of them."""
    places = range(len(folders)) if len(folders) <= _DEEP else ()
    return {folders[:place] + folders[place + 1 :] for place in places}


def name_of_its_own(file: str, name: str) -> str:
    """A name for the image of a file that no image of another folder has."""
    folders = [folder for folder in _folders(file) if folder.lower() != "annotations"]
    return "/".join([*(folders or [_stem(file)]), name])


def _folders(name: str) -> list[str]:
    return name.split("/")[:-1]


def _base(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _stem(name: str) -> str:
    """A name without folder and suffix."""
    base = re.split(r"[/\\]", name)[-1]
    return base.rpartition(".")[0] or base

"""Label Studio's JSON: a list of tasks, in full or as JSON_MIN.

Its annotations of one task are by different people: what they agree on is taken once. What a
model predicted is taken only where nobody has annotated. Its offsets are those of a browser or
of Python, depending on who made them; the text that each region carries tells which.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from domain.systems.annotations.formats.contract import (
    Format,
    OffsetUnit,
    ReadOptions,
    Subject,
    WriteOptions,
)
from domain.systems.annotations.formats.documents import (
    Document,
    Loss,
    Rejected,
    Span,
    TextDocument,
)
from domain.systems.annotations.formats.json_array import as_list, read_elements, rejects
from domain.systems.annotations.formats.json_values import compact, escaped
from domain.systems.annotations.formats.label_studio_heads import as_texts
from domain.systems.annotations.formats.mapping import mapped, renames
from domain.systems.annotations.formats.offsets import Positions
from domain.systems.annotations.formats.records import (
    check_selected,
    labels_of,
    placed,
    shows_selected,
    text_of,
    without_collision,
)
from domain.systems.annotations.formats.validity import Unfit, fit, score, shown, whole, words

FAMILY = "labelstudio"
"""By what people call the files of texts and of images alike."""
MIN_FIELDS = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")
_BLANK = re.compile(r"\\n|\s")
_TIMES, _BLANKS = 4, 1_000
"""A text with so many more characters differs by more than its blanks."""


def read(stream: BinaryIO, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The documents of a file, and the tasks that are none."""
    return read_elements(stream, options, _document)


def write(documents: Iterable[Document], _options: WriteOptions) -> Iterator[bytes]:
    """A list of tasks, numbered from 1; our key is in ``meta``, since theirs are numbers."""
    tasks = (_task(number, text_of(one)) for number, one in enumerate(documents, start=1))
    return as_list(compact(task).encode() for task in tasks)


def losses(_document: Document, _options: WriteOptions) -> Iterable[Loss]:
    """Nothing is dropped."""
    return ()


def likeness(head: bytes, _name: str) -> float:
    """Tasks, of which one has ``data`` and results, or the fields of JSON_MIN."""
    return as_texts(head)


@dataclass(slots=True)
class _Found:
    """What the results of a task come to."""

    regions: list[dict[str, Any]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    others: list[Any] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)
    """Spans, choices and other results of the annotations that have been taken."""

    def add(self, results: list[dict[str, Any]], confidence: Any = None) -> None:
        """Take what another annotation has and the ones before have not."""
        taken: set[str] = set()
        for result in results:
            value = result.get("value")
            names = _names(value) if isinstance(value, dict) else None
            if isinstance(value, dict) and "start" in value and names is not None:
                if "score" not in result and confidence is not None:
                    result = result | {"score": confidence}  # noqa: PLW2901
                self._add_region(result, names, taken)
            elif isinstance(value, dict) and isinstance(value.get("choices"), list):
                self._add_choices(value["choices"], taken)
            else:
                self._add_other(result)
        self._known |= taken

    def _add_region(self, region: dict[str, Any], names: list[Any], taken: set[str]) -> None:
        """Take the labels of a region that nobody before has given to its place."""
        places = {name: _place(region["value"], name) for name in map(_word, names)}
        left = [name for name in names if places[_word(name)] not in self._known]
        taken.update(places.values())
        if left:
            self.regions.append(region | {"value": region["value"] | {"labels": left}})

    def _add_choices(self, choices: list[Any], taken: set[str]) -> None:
        chosen = [words(choice, "choices") for choice in choices]
        self.labels += [choice for choice in chosen if f"choice {choice}" not in self._known]
        taken.update(f"choice {choice}" for choice in chosen)

    def _add_other(self, result: dict[str, Any]) -> None:
        known = f"other {escaped(result)}"
        if known not in self._known:
            self._known.add(known)
            self.others.append(result)


def _document(value: Any, options: ReadOptions) -> TextDocument:
    if not isinstance(value, dict):
        raise Unfit("not_a_document", f"{shown(value)} where a task must be; give an object")
    data = value.get("data")
    if isinstance(data, dict):
        found, meta = _results(value), object_in(value.get("meta"), "meta")
        key = meta["key"] if "key" in meta else value.get("id")
    else:
        found, meta, key = _Found(), {}, value.get("id")
        data = {name: part for name, part in value.items() if name not in MIN_FIELDS}
        for name in [name for name, part in data.items() if _add_min(found, part)]:
            del data[name]
    data = _mapped(value, data, options)
    wanted = {*options.columns, *options.mapping}
    name = _content_name(data, ("content",) if "content" in wanted else ("text", "content"))
    content = words(data.pop(name), name)
    if "key" in wanted and "key" in data:
        key = data.pop("key")
    labels = tuple(found.labels)
    if "labels" in wanted and "labels" in data:
        labels = labels_of(data.pop("labels"))
    rest = {name: part for name, part in meta.items() if name not in ("key", "metadata")}
    ours = object_in(meta.get("metadata"), "meta.metadata")
    metadata = without_collision(without_collision(data, ours, "meta"), rest, "meta")
    if found.others:
        metadata = without_collision(metadata, {"results": found.others}, "task")
    return fit(
        TextDocument(
            content,
            tuple(_spans(found.regions, content, options.offsets)),
            None if key is None else words(key, "id"),
            labels,
            metadata,
        )
    )


def _mapped(task: dict[str, Any], data: dict[str, Any], options: ReadOptions) -> dict[str, Any]:
    """The data by their wanted names; the number of the task may be a part of one."""
    beside = {"id": task["id"]} if "id" in task and "id" not in data else {}
    found = mapped(mapped(beside | data, renames(options.columns)), options.mapping)
    wanted = {*options.columns, *options.mapping}
    return {name: part for name, part in found.items() if name in wanted or name not in beside}


def _results(task: dict[str, Any]) -> _Found:
    found = _Found()
    for results, confidence in results_of(task):
        found.add(results, confidence)
    return found


def _add_min(found: _Found, part: Any) -> bool:
    """Take a field of JSON_MIN, whose results stand without what is around them."""
    if isinstance(part, dict) and isinstance(part.get("choices"), list):
        found.add([{"value": part}])
        return True
    if not isinstance(part, list) or not part:
        return False
    if not all(isinstance(one, dict) and "start" in one and _names(one) for one in part):
        return False
    found.add([{"value": one} for one in part])
    return True


def _spans(regions: list[dict[str, Any]], content: str, unit: OffsetUnit) -> Iterator[Span]:
    positions = Positions(content, unit)
    if unit is OffsetUnit.CODE_POINTS and not _agree(regions, content, positions):
        in_browser = Positions(content, OffsetUnit.UTF16)
        positions = in_browser if _agree(regions, content, in_browser) else positions
    for number, region in enumerate(regions, start=1):
        where, value = f"annotation {number}", region["value"]
        first, last = _ends(value)
        if first is None and last is None:
            raise Unfit(
                "span_out_of_range",
                f"{where}: it counts within a part of the text (startOffset); "
                "give it globalOffsets, or start and end in the whole text",
            )
        start, end = placed(
            whole(first, f"{where}: start"),
            whole(last, f"{where}: end"),
            positions,
            where,
        )
        said, found = value.get("text"), content[start:end]
        if isinstance(value.get("globalOffsets"), dict):
            _check_of_page(said, found, where)
        elif isinstance(said, str) and not _alike(said, found):
            check_selected(said, found, where)
        confidence = score(region.get("score"), f"{where}: score")
        metadata = object_in(region.get("meta"), f"{where}: meta")
        for label in _names(value) or ():
            yield Span(start, end, words(label, f"{where}: labels"), confidence, metadata)


def _check_of_page(said: Any, found: str, where: str) -> None:
    """Raise Unfit for offsets that count what a page shows, but where that is the text itself.

    A text that is the source of a page has tags that they do not count, and nothing but what the
    region covers tells whether it has.
    """
    if not isinstance(said, str) or not said or not _alike(said, found):
        raise Unfit(
            "span_out_of_range",
            f"{where}: globalOffsets count what a page shows, and the text that the region says is "
            "not there in the text of the task; give it start and end in that text",
        )


def _agree(regions: list[dict[str, Any]], content: str, positions: Positions) -> bool:
    """Whether the regions cover the texts that they say."""
    for value in (region["value"] for region in regions):
        ends = _ends(value)
        if not all(isinstance(end, int) for end in ends):
            continue
        start, end = map(positions.code_point, ends)
        said = value.get("text")
        if start is None or end is None:
            return False
        if isinstance(said, str) and not _alike(said, content[start:end]):
            return False
    return True


def _alike(said: str, found: str) -> bool:
    """Label Studio writes line ends in a region's text in more than one way."""
    if said == found:
        return True
    # Texts of which one is blanks alone are not gone through for each of many regions.
    shorter, longer = sorted((len(said), len(found)))
    if longer > _TIMES * shorter + _BLANKS:
        return False
    return _BLANK.sub("", said) == _BLANK.sub("", found)


def _names(value: dict[str, Any]) -> list[Any] | None:
    """The labels of a region, whatever kind of tag it is."""
    for name in ("labels", "hypertextlabels", "paragraphlabels"):
        if isinstance(value.get(name), list):
            return list(value[name])
    return None


def _ends(value: dict[str, Any]) -> tuple[Any, Any]:
    """The offsets of a region in the whole text; ``None`` where it counts within a part alone."""
    offsets = value.get("globalOffsets")
    if isinstance(offsets, dict):
        return offsets.get("start"), offsets.get("end")
    if "startOffset" in value or "endOffset" in value:
        return None, None
    return value["start"], value.get("end")


def _place(value: dict[str, Any], name: str) -> str:
    return f"span {_ends(value)!r} {name}"


def _word(name: Any) -> str:
    """A label as it is compared, whatever it is."""
    return name if isinstance(name, str) else escaped(name)


def _content_name(data: dict[str, Any], usual: tuple[str, ...]) -> str:
    """Which field of a task's data is its text."""
    for name in usual:
        if isinstance(data.get(name), str):
            return name
    texts = [name for name, part in data.items() if isinstance(part, str)]
    if len(texts) != 1:
        raise Unfit("no_content", "no field of the task's data is known to be its text; map it")
    return texts[0]


def results_of(task: dict[str, Any]) -> Iterator[tuple[list[dict[str, Any]], Any]]:
    """Lists of results, each with its confidence.

    What people annotated, or what a model predicted where nobody did.
    """
    done = objects_in(task.get("annotations", task.get("completions")), "annotations")
    done = [one for one in done if not one.get("was_cancelled") and not one.get("skipped")]
    for annotation in done:
        yield objects_in(annotation.get("result"), "result"), None
    if not done:
        for prediction in objects_in(task.get("predictions"), "predictions"):
            yield objects_in(prediction.get("result"), "result"), prediction.get("score")


def objects_in(value: Any, where: str) -> list[dict[str, Any]]:
    """A list of objects, or nothing; raises Unfit for anything else."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Unfit("not_a_list", f"{where} is {shown(value)}; give a list of objects")
    return value


def object_in(value: Any, where: str) -> dict[str, Any]:
    """An object, or nothing; raises Unfit for anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unfit("not_an_object", f"{where} is {shown(value)}; give an object")
    return value


def _task(number: int, document: TextDocument) -> dict[str, Any]:
    shown = shows_selected(document)
    results = [
        {
            "id": f"region-{place}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {"start": span.start, "end": span.end}
            | ({"text": document.content[span.start : span.end]} if shown else {})
            | {"labels": [span.label]},
        }
        | ({} if span.confidence is None else {"score": span.confidence})
        | ({"meta": dict(span.metadata)} if span.metadata else {})
        for place, span in enumerate(document.spans, start=1)
    ]
    if document.labels:
        results.append(
            {
                "id": "choices",
                "from_name": "class",
                "to_name": "text",
                "type": "choices",
                "value": {"choices": list(document.labels)},
            }
        )
    hidden = {name: part for name, part in document.metadata.items() if name == "text"}
    beside = {name: part for name, part in document.metadata.items() if name != "text"}
    return {
        "id": number,
        "data": {"text": document.content} | beside,
        "annotations": [{"result": results}] if results else [],
        "predictions": [],
        "meta": {"key": document.key} | ({"metadata": hidden} if hidden else {}),
    }


FORMAT = Format(
    name="labelstudio",
    title="Label Studio JSON",
    subject=Subject.TEXT,
    media_type="application/json",
    suffix=".json",
    read=read,
    rejects=rejects,
    likeness=likeness,
    write=write,
    losses=losses,
    family=FAMILY,
)

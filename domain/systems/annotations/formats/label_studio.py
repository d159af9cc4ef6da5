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
from domain.systems.annotations.formats.json_values import compact
from domain.systems.annotations.formats.label_studio_heads import as_texts
from domain.systems.annotations.formats.mapping import mapped, renames
from domain.systems.annotations.formats.offsets import Positions
from domain.systems.annotations.formats.records import (
    check_selected,
    placed,
    text_of,
    without_collision,
)
from domain.systems.annotations.formats.validity import Unfit, fit, score, shown, whole, words

FAMILY = "labelstudio"
"""By what people call the files of texts and of images alike."""
MIN_FIELDS = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")
_BLANK = re.compile(r"\\n|\s")


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

    def add(self, results: list[dict[str, Any]], confidence: Any = None) -> None:
        """Take what another annotation has and the ones before have not."""
        regions, labels = set(map(_place, self.regions)), list(self.labels)
        for result in results:
            value = result.get("value")
            if not isinstance(value, dict):
                self.others.append(result)
            elif "start" in value and isinstance(_names(value), list):
                if "score" not in result and confidence is not None:
                    result = result | {"score": confidence}  # noqa: PLW2901
                if _place(result) not in regions:
                    self.regions.append(result)
            elif isinstance(value.get("choices"), list):
                chosen = [words(choice, "choices") for choice in value["choices"]]
                self.labels += [choice for choice in chosen if choice not in labels]
            elif result not in self.others:
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
    data = mapped(mapped(data, renames(options.columns)), options.mapping)
    mapped_to = "content" in options.columns or "content" in options.mapping
    name = _content_name(data, ("content",) if mapped_to else ("text", "content"))
    content = words(data.pop(name), name)
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
            tuple(found.labels),
            metadata,
        )
    )


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
        start, end = placed(
            whole(value["start"], f"{where}: start"),
            whole(value.get("end"), f"{where}: end"),
            positions,
            where,
        )
        said = value.get("text")
        if isinstance(said, str) and not _alike(said, content[start:end]):
            check_selected(said, content[start:end], where)
        confidence = score(region.get("score"), f"{where}: score")
        metadata = object_in(region.get("meta"), f"{where}: meta")
        for label in _names(value) or ():
            yield Span(start, end, words(label, f"{where}: labels"), confidence, metadata)


def _agree(regions: list[dict[str, Any]], content: str, positions: Positions) -> bool:
    """Whether the regions cover the texts that they say."""
    for value in (region["value"] for region in regions):
        ends = value["start"], value.get("end")
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
    return said == found or _BLANK.sub("", said) == _BLANK.sub("", found)


def _names(value: dict[str, Any]) -> list[Any] | None:
    """The labels of a region, whatever kind of tag it is."""
    for name in ("labels", "hypertextlabels", "paragraphlabels"):
        if isinstance(value.get(name), list):
            return list(value[name])
    return None


def _place(region: dict[str, Any]) -> str:
    value = region["value"]
    return repr((value.get("start"), value.get("end"), _names(value)))


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
    results = [
        {
            "id": f"region-{place}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {
                "start": span.start,
                "end": span.end,
                "text": document.content[span.start : span.end],
                "labels": [span.label],
            },
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

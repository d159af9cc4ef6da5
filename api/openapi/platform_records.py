"""Platform records: what is said of the routes of projects and of what belongs to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from api.openapi.common import INSISTING
from api.openapi.moments import BEGIN
from api.openapi.platform_models import (
    GONE,
    MODELS,
    PAGES,
    Annotation,
    FieldMapping,
    Image,
    Label,
    ListedText,
    MarkedBox,
    Member,
    Project,
    Text,
    ValidationRule,
    ValidationThresholds,
    several,
    title,
)
from api.openapi.telling import (
    MOMENT,
    Answer,
    Body,
    Parameter,
    Schema,
    Told,
    one_of,
    query,
    whole,
)
from api.parameters import MAX_ID
from api.systems.annotations.asked import MAX_OFFSET, MAX_PAGE, MAX_WORDS, PAGE
from api.systems.annotations.records import PROJECTS_PATH
from api.systems.annotations.wire import Deleting, changed_body, new_body
from domain.systems.annotations.kinds import IN_PROJECTS, KINDS, PROJECTS, TEXTS, Kind
from domain.systems.annotations.roles import ProjectRole
from domain.systems.annotations.validation.definitions import Regex
from domain.systems.annotations.validation.issues import Severity
from domain.systems.annotations.validation.thresholds import Adjustable, Weight
from streams.systems.annotations.reading import FILTERS

TAG: Final = "Projects"
_ONE_PROJECT: Final = f"{PROJECTS_PATH}/{{project_id}}"


_STAMPS: Final[dict[str, Any]] = {
    "version": 1,
    "created_by": "ada",
    "created_at": BEGIN,
    "updated_by": None,
    "updated_at": None,
}
_OF: Final[dict[str, Any]] = {**_STAMPS, "project_id": 1}
_NO_DIGITS: Final[Regex] = {
    "kind": "regex",
    "field": "selected_text",
    "pattern": "[0-9]",
    "negate": True,
}
_EXAMPLES: Final[Mapping[str, BaseModel]] = {
    "projects": Project(**_OF, name="letters", description=""),
    "texts": Text(**_OF, text_id=1, content="Ada wrote to Charles.", metadata={}),
    "labels": Label(**_OF, label_id=1, name="PERSON", colour="", hotkey="p", order=0),
    "members": Member(**_OF, member_id=1, subject="grace", role=ProjectRole.ANNOTATOR),
    "images": Image(**_OF, image_id=1, file_name="a.png", width=640, height=480, metadata={}),
    "mappings": FieldMapping(**_OF, mapping_id=1, name="reviews", mapping={"content": "body"}),
    "annotations": Annotation(
        **_OF,
        id=1,
        label_id=1,
        confidence_score=0.9,
        metadata={},
        text_id=1,
        start_char=0,
        end_char=3,
        selected_text="Ada",
    ),
    "boxes": MarkedBox(
        **_OF,
        id=1,
        label_id=1,
        confidence_score=None,
        metadata={},
        image_id=1,
        bbox=(10, 20, 100, 50),
        polygon=None,
    ),
    "validation_rules": ValidationRule(
        **_OF,
        rule_id=1,
        name="no_digits",
        definition=_NO_DIGITS,
        severity=Severity.ERROR,
        enabled=True,
        message="",
        labels=("PERSON",),
    ),
    "validation_thresholds": ValidationThresholds(
        **_OF,
        threshold_id=1,
        threshold=0.5,
        min_confidence=0.3,
        max_span=1000,
        allow_overlaps=True,
        severities={Adjustable.CUT_WORD: Weight.ERROR},
    ),
}
_NEW: Final[Mapping[str, dict[str, Any]]] = {
    "projects": {"name": "letters"},
    "texts": {"content": "Ada wrote to Charles."},
    "labels": {"name": "PERSON", "hotkey": "p"},
    "members": {"subject": "grace", "role": "annotator"},
    "images": {"file_name": "a.png", "width": 640, "height": 480},
    "mappings": {
        "name": "reviews",
        "mapping": {"content": "review.body", "key": {"template": "{source}-{id}"}},
    },
    "annotations": {"text_id": 1, "start_char": 0, "end_char": 3, "label": "PERSON"},
    "boxes": {"image_id": 1, "label": "PERSON", "bbox": [10, 20, 100, 50]},
    "validation_rules": {"name": "no_digits", "definition": _NO_DIGITS, "labels": ["PERSON"]},
    "validation_thresholds": {"threshold": 0.5, "severities": {"cut_word": "error"}},
}
_CHANGED: Final[Mapping[str, dict[str, Any]]] = {
    "projects": {"description": "of the 19th century"},
    "texts": {"metadata": {"page": 3}},
    "labels": {"order": 2},
    "members": {"role": "manager"},
    "images": {"width": 1280},
    "mappings": {"mapping": {"content": "text"}},
    "annotations": {"confidence_score": 1},
    "boxes": {"bbox": [0, 0, 10, 10]},
    "validation_rules": {"enabled": False},
    "validation_thresholds": {"allow_overlaps": False},
}


def _new(kind: Kind) -> Body:
    """Where nothing has to be said, nothing has to be sent."""
    model = new_body(kind)
    needs = any(field.is_required() for field in model.model_fields.values())
    return Body(model=model, required=needs, examples={"one": _NEW[kind.name]})


def platform_records() -> Iterator[BaseModel]:
    """An answer of each kind."""
    listed = ListedText(**_OF, text_id=1, excerpt="Ada wrote", length=21, metadata={})
    for kind in KINDS:
        one = _EXAMPLES[kind.name]
        yield one
        items = (listed if kind is TEXTS else one,)
        yield PAGES[kind.name](items=items, total=1, limit=PAGE, offset=0)
        yield GONE[kind.name](**{kind.key: 1}, deleted=True)


_ID = whole(1, MAX_ID)
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_WORDS: Schema = {"type": "string", "maxLength": MAX_WORDS, "pattern": "^[^\\x00]*$"}
_NAME: Schema = {**_WORDS, "minLength": 1}
_SAID: Final[Mapping[str, tuple[str, Schema]]] = {
    "q": ("Those with this in their name or content, in upper or lower case.", _WORDS),
    "subject": ("The one who is called so.", _NAME),
    "created_by": ("What this one has made.", _NAME),
    "role": ("Those with this role.", one_of(*ProjectRole)),
    "text_id": ("On this text.", _ID),
    "image_id": ("On this image.", _ID),
    "label_id": ("With this label.", _ID),
    "confidence_min": ("With at least this confidence.", _SHARE),
    "confidence_max": ("With this confidence at most.", _SHARE),
    "created_after": ("Made then or later.", MOMENT),
    "created_before": ("Made before.", MOMENT),
}
PAGING: Final = (
    query("limit", "How many a page has at most.", whole(1, MAX_PAGE, PAGE), example=20),
    query("offset", "How many are passed over before it.", whole(0, MAX_OFFSET, 0), example=0),
)
IF_MATCH: Final = Parameter(
    name="If-Match",
    about="The `ETag` of the record as it was seen; 412 when it has changed since.",
    schema={"type": "string", "pattern": '^(\\*|(W/)?"[0-9]{1,10}(-[0-9a-f]{16})?")$'},
    place="header",
)
WRITTEN: Final = ("record_not_found", "role_lacking", "edit_refused", "record_refused")
"""What may be said of a write."""
PLACES: Final = {
    f"{one}_id": (f"The {one}.", whole(0, MAX_ID), 1)
    for one in (*(kind.one for kind in KINDS), "operation")
}
"""What stands in the braces of the paths."""


def _links(kind: Kind) -> dict[str, dict[str, str]]:
    """Where to go on from a new record."""
    given = {"project_id": "$response.body#/project_id"}
    if kind is not PROJECTS:
        given[f"{kind.one}_id"] = f"$response.body#/{kind.key}"
    return {f"{verb}{title(kind)}": given for verb in ("show", "change", "delete")}


def _all(kind: Kind, path: str) -> Iterator[tuple[tuple[str, str], Told]]:
    model, name = MODELS[kind.name], several(kind)
    first: tuple[str, ...] = () if kind is PROJECTS else ("record_not_found",)
    filters = (query(each, *_SAID[each]) for each in FILTERS[kind.name])
    about = "The projects that the caller may see." if kind is PROJECTS else ""
    yield (
        ("GET", path),
        Told(
            name=f"list{name}",
            tag=TAG,
            about=about or f"The {kind.path} of a project that meet all filters.",
            parameters=(*filters, *PAGING),
            answers={200: Answer(about="A page.", model=PAGES[kind.name])},
            problems=first,
        ),
    )
    yield (
        ("POST", path),
        Told(
            name=f"create{title(kind)}",
            tag=TAG,
            about=f"A new {kind.one}.\n\nTakes the role `{kind.writing}` in the project."
            if kind is not PROJECTS
            else "A new project; who makes it administers it.",
            body=_new(kind),
            answers={
                201: Answer(about=f"The {kind.one}.", model=model, located=True, links=_links(kind))
            },
            problems=WRITTEN,
        ),
    )


def _one(kind: Kind, path: str) -> Iterator[tuple[tuple[str, str], Told]]:
    model, called = MODELS[kind.name], title(kind)
    yield (
        ("GET", path),
        Told(
            name=f"show{called}",
            tag=TAG,
            about=f"One {kind.one}.",
            answers={200: Answer(about=f"The {kind.one}.", model=model)},
            problems=("record_not_found",),
        ),
    )
    yield (
        ("PATCH", path),
        Told(
            name=f"change{called}",
            tag=TAG,
            about=f"What the body names of a {kind.one} is different from now on.\n\n"
            f"Takes the role `{kind.writing}` in the project.",
            parameters=(IF_MATCH,),
            body=Body(model=changed_body(kind), examples={"one": _CHANGED[kind.name]}),
            answers={200: Answer(about=f"The {kind.one} from now on.", model=model)},
            problems=(*WRITTEN, *INSISTING),
        ),
    )
    yield (
        ("DELETE", path),
        Told(
            name=f"delete{called}",
            tag=TAG,
            about=f"The {kind.one} is no more; refused while others refer to it.\n\n"
            f"Takes the role `{kind.writing}` in the project.",
            parameters=(IF_MATCH,),
            body=Body(model=Deleting, examples={"one": {"version": 2}}),
            answers={200: Answer(about="It is gone.", model=GONE[kind.name])},
            problems=(*WRITTEN, *INSISTING),
        ),
    )


PLATFORM_RECORDS: Final[Mapping[tuple[str, str], Told]] = {
    **dict(_all(PROJECTS, PROJECTS_PATH)),
    **dict(_one(PROJECTS, _ONE_PROJECT)),
    **{
        route: told
        for kind in IN_PROJECTS
        for route, told in (
            *_all(kind, f"{_ONE_PROJECT}/{kind.path}"),
            *_one(kind, f"{_ONE_PROJECT}/{kind.path}/{{{kind.one}_id}}"),
        )
    },
}

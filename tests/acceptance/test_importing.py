"""Files on a whole installation: two at once come in, what was rejected after them, and all out."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import aiohttp

from tests.acceptance.stack import Stack
from tests.acceptance.test_platform import Platform

WITHIN = 60.0
COUNT = 1000
IMAGES = 300
IMPORT = "/api/v1/batch/text/import"


def letters(name: str, *, broken_every: int) -> bytes:
    """A file with a label of its own and one of all files; some of its lines are cut."""
    whole = [
        json.dumps(
            {
                "content": f"Ada wrote letter {number}.",
                "key": f"{name}-{number}",
                "annotations": [
                    {"start_char": 0, "end_char": 3, "label": "AUTHOR"},
                    {"start_char": 10, "end_char": 16, "label": f"THING {name}"},
                ],
            }
        )
        for number in range(COUNT)
    ]
    return "".join(
        f"{line[:-1] if number % broken_every == 0 else line}\n"
        for number, line in enumerate(whole, start=1)
    ).encode()


async def imported(
    session: aiohttp.ClientSession, project: int, data: bytes, key: str, suffix: str = "jsonl"
) -> Any:
    form = aiohttp.FormData({"project_id": str(project), "auto_detect_labels": "true"})
    # As a stream: bytes of more than a megabyte are sent so only.
    form.add_field("file", io.BytesIO(data), filename=f"{key}.{suffix}")
    async with session.post(IMPORT, data=form, headers={"Idempotency-Key": key}) as response:
        assert response.status == 202, await response.text()
        return await response.json()


Edited = dict[int, dict[int, str]]
"""Texts, of each the annotations that others have changed or deleted, and who has."""


async def edited(platform: Platform) -> Edited:
    """The first three texts of a file: a span is edited, one deleted, two are changed by a job."""
    labels = (await platform.ask("GET", f"{platform.path}/labels"))["items"]
    (label,) = (each["label_id"] for each in labels if each["name"] == "THING a")
    path = f"{platform.path}/annotations"
    first = (await platform.ask("GET", f"{path}?label_id={label}&limit=3"))["items"]
    chosen = [each["text_id"] for each in first]
    spans = [
        [each["id"] for each in (await platform.ask("GET", f"{path}?text_id={text}"))["items"]]
        for text in chosen
    ]
    await platform.ask("PATCH", f"{path}/{spans[0][0]}", {"confidence_score": 0.5})
    await platform.ask("DELETE", f"{path}/{spans[1][1]}")
    changes = [{"id": each, "confidence_score": 0.25} for each in spans[2]]
    body = {"project_id": platform.number, "updates": changes}
    job = await platform.ask("PUT", "/api/v1/batch/annotations/update", body, 202)
    await platform.followed(job["operation_id"])
    who = [{spans[0][0]: "local"}, {spans[1][1]: "local"}, dict.fromkeys(spans[2], job["job_id"])]
    return dict(zip(chosen, who, strict=True))


async def require_undone_but(platform: Platform, operation: Any, changed: Edited) -> None:
    """What was imported is gone, but for texts that others have edited, which say by whom."""
    undone = await platform.ask("GET", operation["links"]["status"])
    assert (undone["conflict"], undone["rolled_back"]) == (len(changed), 990 - len(changed))
    job = f"/api/v1/jobs/{operation['job_id']}"
    items = (await platform.ask("GET", f"{job}/items?status=conflict"))["items"]
    said = [item["error"]["message"] for item in items]
    for text, spans in changed.items():
        assert any(
            message.startswith(f"annotations/{span} was ") and message.endswith(f" by {who}")
            for message in said
            for span, who in spans.items()
        ), said
        await platform.ask("GET", f"{platform.path}/texts/{text}")


async def test_two_files_at_once_and_their_rejects_until_nothing_is_missing(stack: Stack) -> None:
    async with asyncio.timeout(WITHIN), aiohttp.ClientSession(stack.url) as session:
        platform = Platform(session)
        await platform.begin()
        files = {name: letters(name, broken_every=100) for name in ("a", "b")}
        first = await asyncio.gather(
            *(imported(session, platform.number, data, name) for name, data in files.items())
        )
        rest = []
        for operation in first:
            assert (operation["file"]["accepted"], operation["file"]["rejected"]) == (990, 10)
            async with session.get(operation["links"]["rejects"]) as response:
                cut = (await response.read()).splitlines()
            rest.append(b"\n".join(line + b"}" for line in cut))
        again = [
            await imported(session, platform.number, data, f"rest-{number}")
            for number, data in enumerate(rest)
        ]
        for operation in (*first, *again):
            kind, told = await platform.followed(operation["operation_id"])
            assert (kind, told["status"]) == ("operation_completed", "completed")
        assert await platform.count() == 2 * 2 * COUNT
        labels = await platform.ask("GET", f"{platform.path}/labels")
        assert {label["name"] for label in labels["items"]} == {
            "WORD",
            "AUTHOR",
            "THING a",
            "THING b",
        }
        body = {"project_id": platform.number, "format": "jsonl"}
        export = await platform.ask("POST", "/api/v1/batch/export", body, 202)
        kind, told = await platform.followed(export["operation_id"])
        assert (kind, told["succeeded"]) == ("operation_completed", 2 * COUNT + 1)
        async with session.get(export["links"]["download"]) as response:
            lines = [json.loads(line) for line in (await response.read()).splitlines()]
        keys = [line["key"] for line in lines if "key" in line]
        assert sorted(keys) == sorted(f"{name}-{n}" for name in files for n in range(COUNT))
        assert sum(len(line["annotations"]) for line in lines) == 2 * 2 * COUNT
        texts = await platform.ask("GET", f"{platform.path}/texts?limit=500&offset=1501")
        assert texts["total"] == 2 * COUNT + 1
        changed = await edited(platform)
        job = f"/api/v1/jobs/{first[0]['job_id']}"
        await platform.ask("POST", f"{job}/undo", {}, 202)
        await platform.followed(first[0]["operation_id"])
        await require_undone_but(platform, first[0], changed)
        # Of three texts both annotations stay, but for the one that was deleted.
        assert await platform.count() == 2 * (2 * COUNT - 990) + 5


def data_set(name: str, step: int) -> bytes:
    """A box of its own on each of the images that all files have, and one that all have."""
    images = [
        {"id": number, "file_name": f"{number}.jpg", "width": 640, "height": 480}
        for number in range(IMAGES)[::step]
    ]
    return json.dumps(
        {
            "images": images,
            "annotations": [
                {"image_id": number, "category_id": category, "bbox": [category, 20, 30, 40]}
                for number in range(IMAGES)
                for category in (1, 2)
            ],
            "categories": [{"id": 1, "name": "ALL"}, {"id": 2, "name": f"OWN {name}"}],
        }
    ).encode()


async def test_two_files_of_the_same_images_at_once_make_each_image_once(stack: Stack) -> None:
    async with asyncio.timeout(WITHIN), aiohttp.ClientSession(stack.url) as session:
        platform = Platform(session)
        await platform.begin()
        begun = await asyncio.gather(
            *(
                imported(session, platform.number, data_set(name, step), f"images {name}", "json")
                # In opposite orders: chunks of both then wait for each other.
                for name, step in (("a", 1), ("b", -1))
            )
        )
        for operation in begun:
            kind, told = await platform.followed(operation["operation_id"])
            assert (kind, told["status"], told["failed"]) == ("operation_completed", "completed", 0)
        images = await platform.ask("GET", f"{platform.path}/images?limit=1")
        boxes = await platform.ask("GET", f"{platform.path}/boxes?limit=1")
        assert (images["total"], boxes["total"]) == (IMAGES, 3 * IMAGES)

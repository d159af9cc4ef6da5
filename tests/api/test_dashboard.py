"""The dashboard's files: what they may, how long they are kept, and how large they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from api import dashboard
from api.dashboard.serving import PAGE
from api.security import HEADERS
from domain.events import EVENTS
from tests.api.conftest import Site

FOLDER: Final = Path(dashboard.__file__).parent / "site"
SCRIPTS: Final = sorted(FOLDER.rglob("*.js"))
MOST: Final = 150_000
"""All of them as they stand, unpacked, with their comments."""
_UNSAFE: Final = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|"
    r"localStorage\.setItem\((?!KEPT)|console\."
)
_IMPORTED: Final = re.compile(r"""(?:from\s+|import\s*\(?\s*)"([^"]+)\"""")


async def test_the_page_may_run_its_own_scripts_and_speak_to_its_own_server(site: Site) -> None:
    async with site.client.get("/") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        policy = dict(
            each.strip().partition(" ")[::2]
            for each in response.headers["Content-Security-Policy"].split(";")
        )
        assert response.headers["Cache-Control"] == "no-cache"
        text, tag = await response.text(), response.headers["ETag"]
    assert policy == {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "style-src": "'self'",
        "script-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
    async with site.client.get("/", headers={"If-None-Match": tag}) as response:
        assert response.status == 304


async def test_files_are_kept_for_ever_and_others_are_not_there(site: Site) -> None:
    async with site.client.get("/") as response:
        addresses = re.findall(r'"(/dashboard/[^"]+)"', await response.text())
    assert {address.rpartition(".")[2] for address in addresses} == {"css", "js", "svg"}
    for address in addresses:
        async with site.client.get(address) as response:
            assert response.status == 200, address
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert response.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
    head, _, name = addresses[0].rpartition("/")
    for wrong in (f"{head[:-1]}x/{name}", f"/dashboard/{'0' * 32}/{name}", f"{head}/{PAGE}"):
        async with site.client.get(wrong) as response:
            assert response.status == 404
            assert response.headers["Cache-Control"] == "no-store"
    for outside in ("..%2fserving.py", "parts"):
        async with site.client.get(f"{head}/{outside}") as response:
            assert response.status == 404


def test_scripts_are_small_and_make_no_markup_of_texts() -> None:
    assert sum(file.stat().st_size for file in SCRIPTS) <= MOST
    for file in SCRIPTS:
        text = file.read_text(encoding="utf-8")
        assert not _UNSAFE.search(text), file
        assert len(text.splitlines()) <= 400, file


def test_scripts_are_all_asked_for_and_have_what_they_ask_for() -> None:
    named = {FOLDER / "app.js"}
    for file in SCRIPTS:
        for address in _IMPORTED.findall(file.read_text(encoding="utf-8")):
            assert address.startswith("."), f"{file} asks for {address}"
            named.add((file.parent / address).resolve())
    assert named == {file.resolve() for file in SCRIPTS}


def test_every_event_has_its_name_in_the_scripts() -> None:
    text = (FOLDER / "parts" / "event-names.js").read_text(encoding="utf-8")
    _, stored, _ = text.split("`", 2)
    assert {f"job.{each}" for each in stored.split()} == set(EVENTS)

"""Names of files, whoever chose them: they lead nowhere, and what is sent has names of its own."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest

from api.downloads import disposition
from api.uploads import shown_name
from tests.api.annotations.place import BOSS, Place
from tests.api.annotations.test_exporting import fetched, start
from tests.api.annotations.test_importing import ADA, BAD, IMPORT, download, ended, lines

_NAMES = {
    "above": b"../../etc/passwd",
    "absolute": b"/etc/passwd",
    "windows": rb"C:\Windows\win.ini",
    "device": b"CON",
    "lines": b"a%0D%0AX-Evil: 1.jsonl",
    "right to left": "letters\u202elnosj.exe".encode(),
    "long": b"x" * 4096 + b".jsonl",
    "markup": b"<img src=x onerror=alert(1)>",
    "nul": b"nul%00.jsonl",
    "no UTF-8": b"lone\x80.jsonl",
    "quotes": b"a%22; filename=%22other.exe",
    "none": b"",
}
_SAID = {name: b'filename="%s"' % value for name, value in _NAMES.items()} | {
    "encoded lines": b"filename*=UTF-8''a%0D%0AX-Evil%3A%201.jsonl",
    "encoded nul": b"filename*=UTF-8''nul%00.jsonl",
    "encoded turn": b"filename*=UTF-8''letters%E2%80%AElnosj.exe",
    "encoded, no UTF-8": b"filename*=UTF-8''lone%80.jsonl",
}
"""As heads of parts say it; what is encoded (RFC 5987) comes to us as the letters it stands for."""

_FORM = {**BOSS, "Content-Type": "multipart/form-data; boundary=x"}


def _form(place: Place, said_name: bytes, **fields: Any) -> bytes:
    """A form as a client may send it that heeds no rule."""
    said = {"project_id": place.number, "format": "jsonl", **fields}
    said = {field: str(value).lower() for field, value in said.items()}
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in said.items()
    ]
    file = b'--x\r\nContent-Disposition: form-data; name="file"; %s\r\n\r\n%s\r\n--x--\r\n'
    return "".join(parts).encode() + file % (said_name, lines(ADA, BAD))


# aiohttp passes over what it cannot decode, with a warning to whoever wrote the sender.
@pytest.mark.filterwarnings("ignore::aiohttp.BadContentDispositionParam")
@pytest.mark.parametrize("in_background", [False, True])
@pytest.mark.parametrize("said", _SAID.values(), ids=_SAID)
async def test_what_is_imported_is_so_whatever_its_file_is_called(
    place: Place, said: bytes, in_background: bool
) -> None:
    body = _form(place, said, auto_detect_labels=True, in_background=in_background)
    operation = await place.ask("POST", IMPORT, status=202, who=_FORM, data=body)
    done = await ended(place, operation)
    assert (done["status"], done["succeeded"]) == ("completed", 1)
    _, sent = await download(place, operation)
    assert sent["Content-Disposition"].startswith('attachment; filename="rejects.jsonl"')


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\win.ini", "win.ini"),
        ("a\r\nb\x00\x7f.csv", "a__b__.csv"),
        ("letters\u202elnosj.exe", "letters_lnosj.exe"),
        ("lone\udc80.jsonl", "lone_.jsonl"),
        ("Brief an Zoë \N{ROSE}.csv", "Brief an Zoë \N{ROSE}.csv"),
        ("x" * 4096 + ".jsonl", "x" * 194 + ".jsonl"),
        ("", ""),
        ("folder/", ""),
    ],
)
def test_of_a_name_the_last_part_is_shown_in_letters_that_are_seen(sent: str, shown: str) -> None:
    assert shown_name(sent) == shown


@pytest.mark.parametrize("field", [b"\x80", b"a\x07b", b"\xe2\x80\xae"])
async def test_a_field_has_a_name_that_is_seen(place: Place, field: bytes) -> None:
    body = _form(place, b'filename="a.jsonl"').replace(b'name="format"', b'name="%s"' % field)
    refused = await place.ask("POST", IMPORT, status=400, who=_FORM, data=body)
    assert refused["code"] == "malformed_body"


@pytest.mark.parametrize("name", _NAMES.values(), ids=_NAMES)
def test_a_header_has_a_name_of_plain_letters_and_the_other_one_encoded(name: bytes) -> None:
    given = name.decode(errors="replace").replace("%0D%0A", "\r\n").replace("%22", '"')
    header = disposition(given)
    assert header.isascii()
    assert header.isprintable()
    kind, plain, encoded = header.split("; ")
    assert kind == "attachment"
    assert re.fullmatch(r'filename="[\w .-]*"', plain)
    assert encoded == f"filename*=UTF-8''{quote(given, safe='')}"


@pytest.mark.parametrize(
    "header",
    [
        b'Content-Disposition: form-data; name="file"; filename="a\x07b"',
        b"Content-Disposition: form-data; name=" + b"x" * 20_000,
        b"Content-Disposition form-data",
        b"Content-Disposition: form-data; name=a\nX: \x00",
        b"".join(b"X-%d: 1\r\n" % number for number in range(500)) + b"X: 1",
    ],
    ids=["bell", "long", "no colon", "nul", "many"],
)
async def test_a_part_whose_head_is_none_is_refused(place: Place, header: bytes) -> None:
    body = b"--x\r\n" + header + b"\r\n\r\nx\r\n--x--\r\n"
    refused = await place.ask("POST", IMPORT, status=400, who=_FORM, data=body)
    assert refused["code"] == "malformed_body"


async def test_an_export_is_called_after_its_project_in_letters_that_are_safe(place: Place) -> None:
    name = 'x"; filename="evil.exe\u202e../../CON'
    project = await place.ask("GET", place.path)
    tag = {"If-Match": f'"{project["version"]}"'}
    await place.ask("PATCH", place.path, {"name": name}, headers=tag)
    operation = await start(place)
    await ended(place, operation)
    _, headers = await fetched(place, operation)
    plain = f"x_ filename_evil.exe_.._.._CON-{operation['operation_id']}.jsonl"
    assert headers["Content-Disposition"].startswith(f'attachment; filename="{plain}"; ')

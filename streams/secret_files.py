"""Secret files: a password that stands in a file of its own, as container platforms hand it over.

Errors are ValueErrors, and say neither what is in the file nor where it is: whoever mistakes
the setting for the password itself must not find it in a log.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlsplit

MAX_BYTES = 4096


def read(file: Path) -> str:
    """The text of a file of one line; the end of the line is no part of it."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no path"
        raise ValueError(f"the file cannot be read ({reason})") from None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError("the file is no text in UTF-8") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ValueError("the file is empty")
    if len(content) > MAX_BYTES or not secret.isprintable():
        raise ValueError("the file has more than one line, or is no text; write the password alone")
    return secret


def with_password(address: str, password: str) -> str:
    """The address of a database with a password in it."""
    parts = urlsplit(address)
    if parts.scheme.startswith("sqlite"):
        raise ValueError("SQLite takes no password; leave it out")
    user, at, place = parts.netloc.rpartition("@")
    if not at:
        raise ValueError("the address of the database names no user; write USER@ before the host")
    if ":" in user:
        raise ValueError(
            "the address of the database has a password already; leave out one of both"
        )
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{place}").geturl()

"""Secret files: passwords that stand in files of their own, as container platforms have them.

Errors are ValueErrors, and say neither what is in the file nor where it is: whoever mistakes
the setting for the password itself must not find it in a log.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlsplit

MAX_BYTES = 4096


def read(file: Path, most: int = MAX_BYTES) -> str:
    """The text of a file of one line; the end of the line is no part of it."""
    content, text = _read(file, most)
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise ValueError("the file is empty")
    if len(content) > most or not secret.isprintable():
        raise ValueError("the file has more than one line, or is no text; write it alone")
    return secret


def read_lines(file: Path, most: int) -> tuple[str, ...]:
    """The lines of a file of a few secrets, at most so many; empty ones are left out."""
    content, text = _read(file, MAX_BYTES)
    secrets = tuple(filter(None, text.splitlines()))
    if not secrets:
        raise ValueError("the file is empty")
    if len(content) > MAX_BYTES or len(secrets) > most or not all(map(str.isprintable, secrets)):
        raise ValueError(f"the file has more than {most} lines, or is no text")
    return secrets


def _read(file: Path, most: int) -> tuple[bytes, str]:
    """What a file begins with, as bytes and as text."""
    try:
        with file.open("rb") as opened:
            content = opened.read(most + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no path"
        raise ValueError(f"the file cannot be read ({reason})") from None
    try:
        return content, content.decode()
    except UnicodeDecodeError:
        raise ValueError("the file is no text in UTF-8") from None


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

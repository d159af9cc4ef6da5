"""The outside services that some tests need: how each is found here, and how to get it.

Standard library only: `tools/services` reads it before anything else is known to work.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.services.kafka_jars import OLDEST_JAVA, find_kafka


@dataclass(frozen=True, slots=True)
class Service:
    """A service that the tests start themselves, if its programs are on this machine."""

    name: str
    purpose: str
    how_to_get: str
    find: Callable[[], Path | None]

    @property
    def missing(self) -> str | None:
        """One line that says what is missing and how to get it; None when it is here."""
        if self.find() is not None:
            return None
        return f"{self.name} is missing ({self.purpose}); to get it: {self.how_to_get}"


def find_postgres() -> Path | None:
    """The folder that holds both `initdb` and `postgres`, the newest release first."""
    return next((folder for folder in _postgres_folders() if _has_server(folder)), None)


def _postgres_folders() -> list[Path]:
    """Where to look: what the user put on PATH goes before what Debian keeps off it."""
    on_path = [Path(found).parent for found in [shutil.which("initdb")] if found]
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda folder: [int(part) for part in folder.parent.name.split(".") if part.isdigit()],
        reverse=True,
    )
    return [*on_path, *debian, *_pg_config_folder()]


def _pg_config_folder() -> list[Path]:
    program = shutil.which("pg_config")
    if program is None:
        return []
    answer = subprocess.run([program, "--bindir"], capture_output=True, text=True, check=False)
    return [Path(answer.stdout.strip())] if answer.returncode == 0 else []


def _has_server(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in ("initdb", "postgres"))


def find_chromium() -> Path | None:
    """Debian's browser, or one that the user has put on PATH under that name.

    The build without windows goes first. Of what the other one computes for our pages, four fifths
    are for a window and its tools around each of them, which nobody sees.
    """
    found = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    return None if found is None else Path(found)


SERVICES = {
    service.name: service
    for service in [
        Service(
            name="postgresql",
            purpose="the tests of the PostgreSQL store start a server of their own",
            how_to_get="apt-get install postgresql (any release from 13 on)",
            find=find_postgres,
        ),
        Service(
            name="kafka",
            purpose="the tests of the Kafka transport start brokers of their own",
            how_to_get=f"apt-get install default-jre-headless maven (Java {OLDEST_JAVA} or newer), "
            "then tools/kafka",
            find=find_kafka,
        ),
        Service(
            name="chromium",
            purpose="the tests of what pages do with the API start a browser of their own",
            how_to_get="apt-get install chromium-headless-shell (or chromium)",
            find=find_chromium,
        ),
    ]
}

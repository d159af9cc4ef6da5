"""Plug-ins that tests write as an outsider would: a module and the metadata beside it."""

from __future__ import annotations

from pathlib import Path

import psutil

from tests.acceptance.commands import Server
from tests.crash.keeper import installed


def plugin(folder: Path, name: str, text: str) -> str:
    """What PYTHONPATH must hold for a server to find ``operations`` of such a module."""
    return str(installed(folder, name, f"{name}:operations", [(f"{name}.py", text)]))


def kill_engine(server: Server) -> None:
    """SIGKILL for the engine; the supervisor is left, and starts another."""
    (engine,) = psutil.Process(server.process.pid).children()
    engine.kill()

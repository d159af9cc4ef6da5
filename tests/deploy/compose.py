"""docker-compose.yml, read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"


def read() -> dict[str, Any]:
    """The document, with each ${NAME:-default} replaced by its default."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", FILE.read_text())
    assert "${" not in text, "every variable has a default"
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def ours(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    return {
        name: service
        for name, service in document["services"].items()
        if service["image"].startswith("countermand:")
    }


def lasting(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Those of ours that do not end by themselves."""
    return {
        name: service for name, service in ours(document).items() if service["restart"] == UNLESS
    }


UNLESS = "unless-stopped"


def seconds(text: str) -> float:
    """A duration as this file writes it."""
    assert text.endswith("s")
    return float(text.removesuffix("s"))

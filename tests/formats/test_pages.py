"""The pages about formats name what there is."""

from __future__ import annotations

from pathlib import Path

from domain.systems.annotations.formats.losses import MESSAGES
from domain.systems.annotations.formats.registry import FORMATS

PAGES = Path(__file__).parents[2] / "docs" / "formats"


def test_every_format_has_its_page() -> None:
    overview = (PAGES / "README.md").read_text()
    for form in FORMATS:
        assert f"| `{form.name}` |" in overview
        assert f"[{form.name}.md]({form.name}.md)" in overview
        assert "**What it loses**" in (PAGES / f"{form.name}.md").read_text()


def test_every_code_of_a_loss_is_named() -> None:
    overview = (PAGES / "README.md").read_text()
    assert [code for code in MESSAGES if f"`{code}`" not in overview] == []

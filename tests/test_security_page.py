"""docs/security.md names tests that there are, in every row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "security.md").read_text().splitlines()
    if line.startswith("| ")
][1:]


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:40] for row in ROWS])
def test_a_row_names_tests_that_there_are(row: list[str]) -> None:
    tried, _, tested = row
    named = re.findall(r"`(\S*)::(\w+)`", tested)

    assert named, f"nothing shows what comes of: {tried}"
    assert tested == ", ".join(f"`{file}::{test}`" for file, test in named)
    place = ""
    for file, test in named:
        place = file or place
        tree = ast.parse((ROOT / "tests" / place).read_text())
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        assert test in {each.name for each in ast.walk(tree) if isinstance(each, functions)}, place

"""What pip-audit says is judged: vulnerable, clean, or not looked up at all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.services.advisories import NOT_REACHED, judge

FAULT = {"id": "PYSEC-2026-1", "fix_versions": ["2.13.0"]}
CLEAN: dict[str, Any] = {"name": "aiohttp", "version": "3.14.5", "vulns": []}
VULNERABLE: dict[str, Any] = {"name": "pyjwt", "version": "2.11.0", "vulns": [FAULT]}
SKIPPED = {"name": "attrs", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([CLEAN, CLEAN], 0, "0 known vulnerabilities in 2 packages"),
        ([CLEAN, VULNERABLE], 1, "pyjwt 2.11.0: PYSEC-2026-1, mended in 2.13.0"),
        ([CLEAN, SKIPPED], 1, "attrs was passed over: Dependency not found"),
        ([VULNERABLE, SKIPPED], 1, "pyjwt 2.11.0: "),
        ([SKIPPED, SKIPPED], 0, f"{NOT_REACHED} (2 packages passed over)"),
    ],
)
def test_a_report_is_judged(packages: list[Any], code: int, said: str) -> None:
    verdict = judge({"dependencies": packages})
    assert verdict.code == code
    assert said in verdict.text


def test_no_report_is_no_answer() -> None:
    verdict = judge(None)
    assert (verdict.code, NOT_REACHED in verdict.text) == (0, True)

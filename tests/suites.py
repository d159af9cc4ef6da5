"""Says at the end of a run how long each suite took: a suite is a folder below tests/."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line a suite, the longest first: the sum over its tests, which -n runs side by side."""
    tests: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                suite = suite_of(report.nodeid)
                seconds[suite] += report.duration
                tests[suite] += report.when == "call"
    if len(seconds) > 1:
        terminalreporter.section("suites")
        for suite, spent in seconds.most_common():
            terminalreporter.line(f"{spent:7.1f} s  {suite} ({tests[suite]} tests)")


def suite_of(nodeid: str) -> str:
    """The folder of a test, two steps down at most: ``tests/crash``."""
    folders = nodeid.partition("::")[0].split("/")[:-1]
    return "/".join(folders[:2]) or "."

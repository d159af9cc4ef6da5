"""Advisories: what pip-audit has found about the locked packages, if it could look at all.

Without the service that knows vulnerabilities pip-audit passes every package over and says that
none is vulnerable. That is not to be taken for an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Verdict:
    """What it comes to; ``code`` is 0 unless something is wrong that can be known."""

    code: int
    text: str


NOT_REACHED = (
    "NOT LOOKED UP: no service that knows vulnerabilities can be reached from here; one of yours "
    "that speaks OSV is asked with PIP_AUDIT_VULNERABILITY_SERVICE=osv PIP_AUDIT_OSV_URL=..."
)


def judge(report: Mapping[str, Any] | None) -> Verdict:
    """The verdict on a report of ``pip-audit --format json``; None is one that was not made."""
    packages: Sequence[Mapping[str, Any]] = (report or {}).get("dependencies", ())
    known = [each for each in packages if "skip_reason" not in each]
    if not known:
        return Verdict(0, f"{NOT_REACHED} ({len(packages)} packages passed over)")
    faults = [
        f"{each['name']} {each['version']}: {fault['id']}, mended in "
        f"{', '.join(fault['fix_versions']) or 'no release yet'}"
        for each in known
        for fault in each["vulns"]
    ]
    faults += [
        f"{each['name']} was passed over: {each['skip_reason']}"
        for each in packages
        if "skip_reason" in each
    ]
    if faults:
        return Verdict(1, "\n".join(faults))
    return Verdict(0, f"0 known vulnerabilities in {len(known)} packages")

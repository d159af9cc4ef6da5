"""Audit: signed heads of the jobs' hash chains, and what proves that nothing was changed.

The chain alone shows that a stored event was changed or taken out, but whoever can write
the database can also compute hashes, change the last event or cut the tail. So each
commit's heads are signed and kept in a file of their own; :func:`verify` needs that file
and the key. A process that commits everything itself signs at once; where there are
several, a :class:`Signer` follows the log. Who can write the database and the heads can
still turn both back to an earlier moment and go on from there: keep copies of the heads
elsewhere.
"""

from __future__ import annotations

from streams.stores.audit.archive import Archived, verify_archive, write_archive
from streams.stores.audit.findings import Finding, Kind, Report
from streams.stores.audit.heads import HeadsFile
from streams.stores.audit.key import AuditKey
from streams.stores.audit.reconcile import known_heads, live_heads, open_heads, reconcile
from streams.stores.audit.rules import RuleSigner, rule_heads, verify_rules
from streams.stores.audit.signer import Signer
from streams.stores.audit.stored import rows_behind
from streams.stores.audit.unsealing import unseal_archive
from streams.stores.audit.verify import verify, verify_trail
from streams.stores.chain import Head

__all__ = [
    "Archived",
    "AuditKey",
    "Finding",
    "Head",
    "HeadsFile",
    "Kind",
    "Report",
    "RuleSigner",
    "Signer",
    "known_heads",
    "live_heads",
    "open_heads",
    "reconcile",
    "rows_behind",
    "rule_heads",
    "unseal_archive",
    "verify",
    "verify_archive",
    "verify_rules",
    "verify_trail",
    "write_archive",
]

"""The test kit for whoever writes an operation: see docs/testing.md.

``Bench`` runs operations with no server, ``Faults`` says what goes wrong meanwhile.
:mod:`countermand_testing.suite` (needs pytest) has a test for each thing that every operation
must keep; :mod:`countermand_testing.generated` (needs hypothesis) draws items from the
operation's model and checks that undo puts back what they have done.
"""

from countermand_testing.bench import Bench, BenchJob
from countermand_testing.case import Case, ContractBrokenError, Given
from countermand_testing.checks import Check, checks_for
from countermand_testing.faults import Crash, Faults
from countermand_testing.stages import NeverEndsError
from streams.failpoints import Failpoint

__all__ = [
    "Bench",
    "BenchJob",
    "Case",
    "Check",
    "ContractBrokenError",
    "Crash",
    "Failpoint",
    "Faults",
    "Given",
    "NeverEndsError",
    "checks_for",
]

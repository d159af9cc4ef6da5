"""The contract as tests: a class with a case, and pytest does the rest.

::

    class TestReprice(ContractSuite):
        case = Case(kind="shop.reprice", operations=operations, items=[...])
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from countermand_testing.case import Case
from countermand_testing.checks import Check, checks_for


class ContractSuite:
    """One test a check that concerns the operation of ``case``; inherit as ``Test...``."""

    case: ClassVar[Case]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "case" not in cls.__dict__:
            return
        checks = checks_for(cls.case)
        names = [check.__name__.removeprefix("check_") for check in checks]

        @pytest.mark.parametrize("check", checks, ids=names)
        def test_contract(self: ContractSuite, check: Check) -> None:
            """The operation keeps this part of the contract."""
            check(self.case)

        cls.test_contract = test_contract  # type: ignore[attr-defined] # for pytest to find

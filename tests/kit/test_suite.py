"""The suite lets good operations pass: by before-image, by inverse, by compensation."""

from __future__ import annotations

import pytest

from countermand_testing import Case
from countermand_testing.generated import undo_restores
from countermand_testing.suite import ContractSuite
from tests.kit.shop import ADD, BOOK, WRITE


class TestBook(ContractSuite):
    case = BOOK


class TestAdd(ContractSuite):
    case = ADD


class TestWrite(ContractSuite):
    case = WRITE


@pytest.mark.parametrize("case", [BOOK, ADD, WRITE], ids=lambda case: case.kind)
def test_undo_restores(case: Case) -> None:
    undo_restores(case, examples=10)

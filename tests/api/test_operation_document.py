"""The document of an operation: what the edge says of a kind."""

from __future__ import annotations

from sqlalchemy import Column, Integer, MetaData, String, Table

from api.answers import answer
from api.operations import operation_document
from domain.record_operations import record_operations


def test_a_model_that_follows_from_a_table_can_be_shown() -> None:
    noted = Table(
        *("noted", MetaData(), Column("id", Integer, primary_key=True), Column("version", Integer)),
        *(Column("tenant", String(9)), Column("text", String(9))),
    )

    for made in record_operations("notes", noted):
        assert answer(operation_document(made)).status == 200

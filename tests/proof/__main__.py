"""``python -m tests.proof``: run every long proof and write the report, docs/proof.md."""

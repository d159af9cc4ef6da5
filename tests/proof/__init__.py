"""The long proofs at their full figures, and the report about them."""

"""Identity: who calls, proven by a token of a known issuer or by an API key.

:class:`~streams.identity.proofs.Proofs` is what the edge asks. Whatever cannot be checked
lets nobody in.
"""

from streams.identity.api_keys import ApiKeys, NewKey
from streams.identity.proofs import Identity, Proofs
from streams.identity.tickets import Ticket, Tickets
from streams.identity.tokens import Tokens, Trust, issued

__all__ = [
    "ApiKeys",
    "Identity",
    "NewKey",
    "Proofs",
    "Ticket",
    "Tickets",
    "Tokens",
    "Trust",
    "issued",
]

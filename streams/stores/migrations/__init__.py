"""Alembic revisions of the engine's tables and of the plug-ins that come with it.

Run by :mod:`streams.stores.migrate`, which hands over its own connection: there is no
``alembic.ini``. A released revision is never changed; a new one goes to ``versions``.
"""

from __future__ import annotations

REVISIONS = (
    *("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010"),
    *("0011", "0012", "0013", "0014", "0015", "0016", "0020", "0021", "0022", "0024", "0025"),
    *("0026", "0027", "0028", "0029", "0030", "0031", "0032", "0033", "0034", "0035"),
)
"""Every revision, oldest first; known here so that a start need not import Alembic."""

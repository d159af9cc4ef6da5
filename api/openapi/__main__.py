"""``python -m api.openapi`` prints the document; ``countermand openapi`` runs it."""

import sys

from api.app import ROUTES
from api.openapi import describe, text

sys.stdout.write(text(describe(ROUTES)).decode())

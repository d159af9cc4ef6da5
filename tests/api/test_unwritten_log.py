"""A log that cannot be written changes no answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.buffered import buffered

FULL = Path("/dev/full")
PROGRAM = """
import asyncio
from aiohttp.test_utils import make_mocked_request
from api.callers import ProvenCallers
from api.edge import REQUEST_ID
from domain.errors import CredentialRefused
from streams import logs


class Refusing:
    keys = tickets = None

    async def identify(self, token):
        raise CredentialRefused("show a token", reason="it is forged")


logs.configure("info")
request = make_mocked_request("GET", "/api/v1/jobs", headers={"Authorization": "Bearer forged"})
request[REQUEST_ID] = "r"
counted = []


async def count(_request):
    counted.append(1)


callers = ProvenCallers(Refusing())
callers._count = count
try:
    asyncio.run(callers.prove(request, token="forged", ticket=""))
except CredentialRefused:
    print("refused, and counted", counted)
"""


def test_a_token_that_is_refused_is_refused_and_counted() -> None:
    with FULL.open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env=buffered(),
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=60,
            check=False,
        )

    assert (ended.returncode, ended.stdout) == (0, b"refused, and counted [1]\n")

"""Who calls, with real processes: tokens, keys, a revocation, and secrets that stay put."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import asked, countermand, refused
from tests.acceptance.stack import Stack
from tests.acceptance.stacks import STACKS, running
from tests.unit.streams.identity.signing import token

CANARY = "canary-in-a-coal-mine-0123456789abcdef"


@pytest.fixture(scope="module", params=STACKS)
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """One that asks who calls, with a secret in a file, and approval above two items."""
    folder = tmp_path_factory.mktemp("identity")
    (folder / "secret").write_text(CANARY)
    (folder / "data").mkdir()
    variables = {
        "COUNTERMAND_ACTORS": "proven",
        "COUNTERMAND_TOKEN_SECRET_FILE": str(folder / "secret"),
        "COUNTERMAND_APPROVAL_ABOVE": "2",
        "COUNTERMAND_LOG_LEVEL": "debug",
    }
    with running(request, folder / "data", **variables) as found:
        yield found


def _token(actor: str, *roles: str, tenant: str = "acme") -> str:
    """As an issuer with the secret makes it."""
    return token(CANARY, sub=actor, tenant=tenant, roles=list(roles))


def _said(stack: Stack, shown: str, *words: str) -> Any:
    """What a verb prints; a refusal is its words."""
    ended = stack.ask(*words, "--json", COUNTERMAND_TOKEN=shown)
    return json.loads(ended.stdout) if ended.returncode == 0 else ended.stderr


def _asked(stack: Stack, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(stack.url.removeprefix("http://"), timeout=10)
    with closing(connection):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()


def _items(stack: Stack, many: int) -> str:
    file = stack.folder.parent / f"{many}.ndjson"
    file.write_text("".join(f'{{"name": "p{n}"}}\n' for n in range(many)))
    return str(file)


def test_secrets_stay_where_they_are(stack: Stack) -> None:
    """After a day of tokens and keys none is in a log, an event, a message, an answer or a file."""
    words = ("token", "ada", "--tenant", "acme", "--role", "admin")
    secret = str(stack.folder.parent / "secret")
    ada = asked(*words, COUNTERMAND_TOKEN_SECRET_FILE=secret).stdout.strip()
    grace = _token("grace", "approver")
    made = _said(stack, ada, *("key", "create", "importer", "--role", "editor"))
    key, key_id = made["key"], made["key_id"]
    submit = ("submit", "annotations.create_projects")
    small = _said(stack, key, *submit, _items(stack, 2))
    assert small["created_by"] == "key:importer"

    large = _said(stack, key, *submit, _items(stack, 3))
    assert large["status"] == "awaiting_approval"
    assert "lacks the permission approve" in _said(stack, key, "approve", large["job_id"])
    approved = _said(stack, grace, "approve", large["job_id"], "--reason", "counted them")
    assert approved["status"] != "awaiting_approval"
    eve = _token("eve", "admin", tenant="other")
    assert "there is no job" in _said(stack, eve, "show", large["job_id"])
    assert "lacks the permission submit" in _said(stack, grace, *submit, _items(stack, 2))

    rotated = _said(stack, ada, "key", "rotate", key_id)["key"]
    assert "Unauthorized" in _said(stack, key, "jobs")
    until = time.monotonic() + 5.0  # the list lags behind its jobs
    while not (found := _said(stack, rotated, "jobs")["items"]) and time.monotonic() < until:
        time.sleep(0.05)
    assert found
    _said(stack, ada, "key", "revoke", key_id)
    assert "Unauthorized" in _said(stack, rotated, "jobs")
    shown = [stack.ask("key", "list", COUNTERMAND_TOKEN=ada).stdout]
    for credential in (f"{ada}x", f"{CANARY}", f"Bearer {key}", "a.b.c"):
        status, body = _asked(stack, "/api/v1/jobs", Authorization=f"Bearer {credential}")
        assert status == 401
        shown.append(body)
    shown.append(_asked(stack, f"/api/v1/jobs?access_token={ada}&q={rotated}")[1])
    written = stack.written()
    assert any("key:importer" in text for text in written), "nothing was looked at"
    shown += written

    secrets = [CANARY, ada, grace, eve, *(text.rpartition("_")[2] for text in (key, rotated))]
    signatures = [text.rpartition(".")[2] for text in (ada, grace, eve)]
    for word in (*secrets, *signatures):
        assert [text[:200] for text in shown if word in text] == []


def test_it_says_at_its_start_how_it_knows_callers(stack: Stack) -> None:
    lines = [json.loads(line) for line in stack.log.splitlines() if line.startswith("{")]
    (entry,) = [line for line in lines if line["event"] == "callers"]
    assert (entry["mode"], entry["said"]) == ("proven", "each call needs a token or an API key")


def test_others_are_not_served_by_a_server_that_asks_nobody(tmp_path: Path) -> None:
    exposed = {"COUNTERMAND_HOST": "0.0.0.0", "COUNTERMAND_EXPOSED_TO": "api"}
    for mode in ("local", "named"):
        said = refused(
            countermand(
                *("serve", "--port", "0", "--data-dir", str(tmp_path / "data")),
                COUNTERMAND_ACTORS=mode,
                **exposed,
            )
        )
        assert "set COUNTERMAND_ACTORS=proven" in said
    assert not (tmp_path / "data").exists()

"""Who calls, with real processes: tokens, keys, a revocation, and secrets that stay put."""

from __future__ import annotations

import http.client
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.commands import asked, countermand, refused
from tests.acceptance.embedded import Server, serving
from tests.unit.streams.identity.signing import token

CANARY = "canary-in-a-coal-mine-0123456789abcdef"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks who calls, with a secret in a file, and approval above two items."""
    folder = tmp_path_factory.mktemp("identity")
    (folder / "secret").write_text(CANARY)
    (folder / "data").mkdir()
    variables = {
        "COUNTERMAND_ACTORS": "proven",
        "COUNTERMAND_TOKEN_SECRET_FILE": str(folder / "secret"),
        "COUNTERMAND_APPROVAL_ABOVE": "2",
        "COUNTERMAND_LOG_LEVEL": "debug",
    }
    with serving(folder / "data", **variables) as running:
        yield running


def _token(server: Server, actor: str, *roles: str, tenant: str = "acme") -> str:
    """As an issuer with the secret makes it."""
    return token(CANARY, sub=actor, tenant=tenant, roles=list(roles))


def _said(server: Server, shown: str, *words: str) -> Any:
    """What a verb prints; a refusal is its words."""
    ended = server.ask(*words, "--json", COUNTERMAND_TOKEN=shown)
    return json.loads(ended.stdout) if ended.returncode == 0 else ended.stderr


def _asked(server: Server, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    with closing(connection):
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()


def _items(server: Server, many: int) -> str:
    file = server.data_dir.parent / f"{many}.ndjson"
    file.write_text("".join(f'{{"name": "p{n}"}}\n' for n in range(many)))
    return str(file)


def test_secrets_stay_where_they_are(server: Server) -> None:
    """After a day of tokens and keys none is in a log, an event, an answer or a file."""
    words = ("token", "ada", "--tenant", "acme", "--role", "admin")
    secret = str(server.data_dir.parent / "secret")
    ada = asked(*words, COUNTERMAND_TOKEN_SECRET_FILE=secret).stdout.strip()
    grace = _token(server, "grace", "approver")
    made = _said(server, ada, *("key", "create", "importer", "--role", "editor"))
    key, key_id = made["key"], made["key_id"]
    submit = ("submit", "annotations.create_projects")
    small = _said(server, key, *submit, _items(server, 2))
    assert small["created_by"] == "key:importer"

    large = _said(server, key, *submit, _items(server, 3))
    assert large["status"] == "awaiting_approval"
    assert "lacks the permission approve" in _said(server, key, "approve", large["job_id"])
    approved = _said(server, grace, "approve", large["job_id"], "--reason", "counted them")
    assert approved["status"] != "awaiting_approval"
    eve = _token(server, "eve", "admin", tenant="other")
    assert "there is no job" in _said(server, eve, "show", large["job_id"])
    assert "lacks the permission submit" in _said(server, grace, *submit, _items(server, 2))

    rotated = _said(server, ada, "key", "rotate", key_id)["key"]
    assert "Unauthorized" in _said(server, key, "jobs")
    assert _said(server, rotated, "jobs")["items"]
    _said(server, ada, "key", "revoke", key_id)
    assert "Unauthorized" in _said(server, rotated, "jobs")
    shown = [server.ask("key", "list", COUNTERMAND_TOKEN=ada).stdout]
    for credential in (f"{ada}x", f"{CANARY}", f"Bearer {key}", "a.b.c"):
        status, body = _asked(server, "/api/v1/jobs", Authorization=f"Bearer {credential}")
        assert status == 401
        shown.append(body)
    shown.append(_asked(server, f"/api/v1/jobs?access_token={ada}&q={rotated}")[1])
    shown += _everything(server)

    secrets = [CANARY, ada, grace, eve, *(text.rpartition("_")[2] for text in (key, rotated))]
    signatures = [text.rpartition(".")[2] for text in (ada, grace, eve)]
    for word in (*secrets, *signatures):
        assert [text[:200] for text in shown if word in text] == []


def _everything(server: Server) -> list[str]:
    """The log, the database and its journal, each file of the directory, and the processes."""
    files = [file for file in server.data_dir.rglob("*") if file.is_file()]
    texts = [file.read_bytes().decode("latin-1") for file in files]
    with closing(sqlite3.connect(server.file)) as database:
        texts += database.iterdump()
    family = [server.process.pid, *psutil.Process(server.process.pid).children(recursive=True)]
    for one in family:
        process = one if isinstance(one, psutil.Process) else psutil.Process(one)
        texts.append(f"{process.cmdline()} {process.environ()}")
    return texts


def test_it_says_at_its_start_how_it_knows_callers(server: Server) -> None:
    (entry,) = [e for e in map(json.loads, server.log.splitlines()) if e["event"] == "callers"]
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

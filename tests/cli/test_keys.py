"""Tokens and keys on the command line: what is sent, what is shown, and what never is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from domain.permissions import HELD, CallerRole
from streams.cli.session import TOKEN, TOKEN_FILE
from streams.identity.tokens import Secrets, Tokens, Trust
from tests.cli.conftest import Run
from tests.cli.contract_server import KEY, SHOWN, Contract

SECRET = "canary" * 6
PATH = f"/api/v1/keys/{KEY['key_id']}"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (TOKEN, TOKEN_FILE, "COUNTERMAND_TOKEN_SECRET", "COUNTERMAND_TOKEN_SECRET_FILE"):
        monkeypatch.delenv(name, raising=False)


class TestAToken:
    @pytest.fixture(autouse=True)
    def _secret(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text(f"{SECRET}\n")
        monkeypatch.setenv("COUNTERMAND_TOKEN_SECRET_FILE", str(tmp_path / "secret"))

    async def test_it_is_what_a_server_takes(self, run: Run) -> None:
        ended = run("token", "ada", "--tenant", "acme", "--role", "editor", "--role", "approve")

        tokens = Tokens("countermand", [Trust(issuer="countermand", keys=Secrets([SECRET]))])
        caller = (await tokens.identify(ended.out.strip())).caller
        assert (caller.tenant, caller.actor) == ("acme", "ada")
        assert caller.permissions == HELD[CallerRole.EDITOR] | HELD[CallerRole.APPROVER]
        assert (ended.code, ended.err, len(ended.out.splitlines())) == (0, "", 1)

    def test_json_tells_when_it_ends(self, run: Run) -> None:
        words = ("token", "ada", "--tenant", "acme", "--role", "view", "--hours", "1", "--json")
        said = run(*words).document

        assert said.keys() == {"token", "expires_at"}

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("engine", "--tenant", "acme", "--role", "view"), "nobody can be called 'engine'"),
            (("key:x", "--tenant", "acme", "--role", "view"), "nobody can be called 'key:x'"),
            (("ada", "--tenant", "a/b", "--role", "view"), "no tenant can be called 'a/b'"),
            (("ada", "--tenant", "acme", "--role", "root"), "there is no role or permission"),
            (("ada", "--tenant", "acme"), "--role"),
            (("ada", "--role", "view"), "--tenant"),
            (("ada", "--tenant", "a", "--role", "view", "--hours", "9999"), "--hours"),
        ],
    )
    def test_what_no_token_can_say_is_refused(
        self, run: Run, words: tuple[str, ...], said: str
    ) -> None:
        ended = run("token", *words)

        assert (ended.code, ended.out) == (2, "")
        assert said in ended.err
        assert "canary" not in ended.err

    def test_without_a_secret_the_remedy_is_told(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("COUNTERMAND_TOKEN_SECRET_FILE")
        ended = run("token", "ada", "--tenant", "acme", "--role", "view")

        assert ended.code == 2
        assert "set COUNTERMAND_TOKEN_SECRET_FILE" in ended.err


class TestKeys:
    def test_one_is_made_and_printed_alone(self, ask: Run, contract: Contract) -> None:
        words = ("key", "create", "importer", "--role", "submit", "--role", "view", "--days", "9")
        ended = ask(*words)

        sent = json.loads(contract.bodies[-1])
        assert contract.requests[-1] == ("POST", "/api/v1/keys")
        assert (sent["name"], sent["roles"]) == ("importer", ["submit", "view"])
        assert sent["expires_at"].endswith("+00:00")
        assert ended.out == f"{SHOWN['key']}\n"
        assert "the secret is not shown again" in ended.err
        assert SHOWN["key"] not in ended.err

    def test_all_are_listed(self, ask: Run) -> None:
        ended = ask("key", "list")

        assert ended.out.splitlines() == [f"{KEY['key_id']}  importer  submit,view  used never"] * 2
        assert ask("key", "list", "--json").lines == [KEY, KEY]

    def test_one_is_rotated(self, ask: Run, contract: Contract) -> None:
        ended = ask("key", "rotate", str(KEY["key_id"]), "--overlap", "24")

        assert contract.requests[-1] == ("POST", f"{PATH}/rotate")
        assert json.loads(contract.bodies[-1]) == {"overlap": 86400}
        assert ended.out == f"{SHOWN['key']}\n"

    def test_one_is_revoked(self, ask: Run, contract: Contract) -> None:
        ended = ask("key", "revoke", str(KEY["key_id"]))

        assert contract.requests[-1] == ("POST", f"{PATH}/revoke")
        assert ended.err == "importer is refused from now on\n"

    def test_an_id_stays_in_its_place(self, ask: Run, contract: Contract) -> None:
        ask("key", "revoke", "../tenants")

        assert contract.requests[-1] == ("POST", "/api/v1/keys/..%2Ftenants/revoke")


class TestWhatIsShown:
    """The command line shows the token of the environment to the server, and to nobody else."""

    def test_of_the_environment(
        self, ask: Run, contract: Contract, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(TOKEN, "cmk_canary")
        ended = ask("jobs")

        assert contract.headers[-1]["Authorization"] == "Bearer cmk_canary"
        assert "canary" not in f"{contract.requests}{ended}"

    def test_of_a_file(
        self, ask: Run, contract: Contract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "token").write_text("e30.e30.canary\n")
        monkeypatch.setenv(TOKEN_FILE, str(tmp_path / "token"))
        ask("jobs")

        assert contract.headers[-1]["Authorization"] == "Bearer e30.e30.canary"

    def test_nothing_where_there_is_none(self, ask: Run, contract: Contract) -> None:
        ask("jobs")

        assert "Authorization" not in contract.headers[-1]

    @pytest.mark.parametrize("value", ["canary canary", "canary\nX: y", "canäry", "canary\t"])
    def test_not_what_is_none(self, run: Run, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv(TOKEN, value)
        ended = run("jobs")

        assert ended.code == 2
        assert "is no token and no API key" in ended.err
        assert "can" not in ended.err

    def test_not_from_two_places(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv(TOKEN, "canary")
        monkeypatch.setenv(TOKEN_FILE, str(tmp_path / "none"))
        assert "not both" in run("jobs").err

        monkeypatch.delenv(TOKEN)
        assert "the file cannot be read" in run("jobs").err

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import structlog
from annotated_types import Le
from pydantic import TypeAdapter
from sqlalchemy import String
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs

from api.serve import warn_of_unknown
from domain.buckets import BucketName, names_of
from domain.errors import SettingsInvalid
from domain.operation import Context, NoParams, operation
from domain.options import Caps
from domain.outcomes import Done, Result
from streams import settings as module
from streams.bootstrap.scaled import app_of
from streams.broker_security import Login
from streams.clock import TimeOrderedIds
from streams.roles import Role
from streams.settings import (
    MAX_SESSION,
    MOST_OF_INSTANCE,
    Settings,
    check_broker,
    check_callers,
    check_memory,
    environment,
    load,
)
from streams.stores import schema
from streams.topology import StageName

SECRET = "canary" * 6


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in module.Settings.model_fields:
        monkeypatch.delenv(f"COUNTERMAND_{name.upper()}", raising=False)


def test_the_defaults_are_those_of_the_embedded_server() -> None:
    settings = load()

    assert (settings.host, settings.port, settings.broker) == ("127.0.0.1", 8080, "memory://")
    assert settings.data_dir == Path("data").absolute()
    assert settings.database == f"sqlite:///{settings.data_dir}/countermand.db"
    assert (settings.lease, settings.heartbeat, settings.claim_by) == (5.0, 1.5, 5.0)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("COUNTERMAND_APROVAL_ABOVE", "COUNTERMAND_APPROVAL_ABOVE"),
        ("countermand_data_dirs", "COUNTERMAND_DATA_DIR"),
        ("COUNTERMAND_XYZZY", ""),
    ],
)
def test_a_name_that_is_no_setting_is_told_with_the_one_that_it_may_mean(
    name: str, meant: str
) -> None:
    assert module.unknown([name, "COUNTERMAND_PORT", "countermand_host", "PATH"]) == {name: meant}


def test_names_of_others_are_no_settings_that_somebody_got_wrong() -> None:
    root = Path(__file__).parents[1]
    used = re.findall(r"\$\{(COUNTERMAND_\w+)", (root / "docker-compose.yml").read_text())

    assert used
    assert module.unknown([*used, "COUNTERMAND_URL", "COUNTERMAND_TOKEN_FILE"]) == {}


def test_a_start_warns_of_a_name_that_is_no_setting() -> None:
    with capture_logs() as logs:
        warn_of_unknown(structlog.get_logger(), ["COUNTERMAND_APROVAL_ABOVE", "COUNTERMAND_PORT"])

    assert logs == [
        {
            "event": "unknown_setting",
            "log_level": "warning",
            "name": "COUNTERMAND_APROVAL_ABOVE",
            "remedy": "did you mean COUNTERMAND_APPROVAL_ABOVE?",
        }
    ]


def test_an_option_goes_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COUNTERMAND_PORT", "9000")
    monkeypatch.setenv("COUNTERMAND_DATA_DIR", str(tmp_path / "a"))

    settings = load(port=9001, data_dir=None)

    assert settings.port == 9001
    assert settings.database == f"sqlite:///{tmp_path}/a/countermand.db"


def test_the_home_directory_is_spelled_out() -> None:
    assert load(data_dir=Path("~/somewhere")).data_dir == Path.home() / "somewhere"


def _touch(_ctx: Context, _item: NoParams) -> Result:
    return Done()


@pytest.mark.parametrize("systems", ["", "shop", "Shop", "_shop", "shop,Mail2,_a_b"])
def test_a_worker_takes_every_system_that_an_operation_may_have(systems: str) -> None:
    assert load(systems=systems).systems == systems
    for system in filter(None, systems.split(",")):
        (queue,) = names_of(operation(f"{system}.touch", item=NoParams)(_touch))
        assert TypeAdapter(BucketName).validate_python(queue) == f"queue:{system}"


@pytest.mark.parametrize(
    "systems", ["2shop", "shop.reprice", "shop, mail", "shop,", ",", "größe", "a-b"]
)
def test_what_is_no_system_is_refused_in_a_sentence(systems: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"--systems: .* as in shop,mail") as caught:
        load(systems=systems)

    assert "[a-z]" not in caught.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_a_loopback_host_is_taken(host: str) -> None:
    assert load(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "192.168.1.5"])
def test_a_host_that_others_reach_is_refused(host: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"--host: .* use 127\.0\.0\.1") as caught:
        load(host=host)

    assert "COUNTERMAND_EXPOSED_TO" in caught.value.message


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "127.0.0.1"])
def test_a_host_that_others_reach_is_taken_with_the_names_that_they_use(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("COUNTERMAND_EXPOSED_TO", "API.example.org,api,10.0.0.1,fd00::1")

    settings = load(host=host)

    assert settings.host == host
    assert settings.exposed_names == {"api.example.org", "api", "10.0.0.1", "[fd00::1]"}


def test_no_name_is_served_unless_one_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().exposed_names == frozenset()

    monkeypatch.setenv("COUNTERMAND_EXPOSED_TO", "")
    assert load().exposed_names == frozenset()
    with pytest.raises(SettingsInvalid, match="can be reached from other machines"):
        load(host="0.0.0.0")


@pytest.mark.parametrize(
    "names", ["*", "*.example.org", "api:8080", "http://api", "a b", "api,", ",", "-a", "0.0.0.0"]
)
def test_what_no_caller_writes_into_host_is_refused(
    monkeypatch: pytest.MonkeyPatch, names: str
) -> None:
    monkeypatch.setenv("COUNTERMAND_EXPOSED_TO", names)

    with pytest.raises(SettingsInvalid, match=r"COUNTERMAND_EXPOSED_TO: .* callers"):
        load()


def test_a_wrong_variable_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERMAND_LEASE", "soon")

    with pytest.raises(SettingsInvalid, match=r"COUNTERMAND_LEASE: .*given: soon"):
        load()


def test_a_heartbeat_slower_than_the_lease_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="must come more often"):
        load(heartbeat=5.0)


def test_a_directory_that_no_database_address_can_name_is_refused_once() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load(data_dir=Path("/tmp/what?"))

    assert caught.value.message.count(";") == 1, "the database that follows from it is not a fault"


def test_a_message_never_repeats_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERMAND_DATABASE", "oracle://me:secret@host/name")

    with pytest.raises(SettingsInvalid) as caught:
        load()

    assert caught.value.message.startswith("COUNTERMAND_DATABASE: write sqlite:///FILE or ")
    assert "secret" not in caught.value.message


class TestAPasswordInAFile:
    ADDRESS = "postgresql://me@host:5432/name?sslmode=require"

    @pytest.fixture
    def file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("COUNTERMAND_DATABASE", self.ADDRESS)
        monkeypatch.setenv("COUNTERMAND_DATABASE_PASSWORD_FILE", str(tmp_path / "password"))
        return tmp_path / "password"

    @pytest.mark.parametrize("password", ["plain", "a@b:c/d?e#f%41 g+h[i]", "pâté ☂", " x "])
    @pytest.mark.parametrize("end", ["", "\n", "\r\n"])
    def test_it_opens_the_database(self, file: Path, password: str, end: str) -> None:
        file.write_bytes((password + end).encode())

        opened = make_url(load().database_address)

        assert opened == make_url(self.ADDRESS).set(password=password)

    def test_it_stands_nowhere_else(self, file: Path) -> None:
        file.write_text("s3cret")
        settings = load()

        assert settings.database == self.ADDRESS
        for shown in (repr(settings), settings.model_dump_json(), environment(settings)):
            assert "s3cret" not in str(shown)

    def test_a_child_reads_it_again(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text("secret")
        settings = load()
        for name, value in environment(settings).items():
            monkeypatch.setenv(name, value)

        assert load().database_address == settings.database_address

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (None, "cannot be read"),
            (b"", "is empty"),
            (b"\n", "is empty"),
            (b"secret\nsecret\n", "more than one line"),
            (b"secret" * 1000, "more than one line"),
            (b"secret\xff", "no text"),
            (b"secret\0", "no text"),
        ],
    )
    def test_a_file_of_no_use_is_refused(
        self, file: Path, content: bytes | None, said: str
    ) -> None:
        if content is not None:
            file.write_bytes(content)

        with pytest.raises(SettingsInvalid) as caught:
            load()

        assert caught.value.message.startswith("COUNTERMAND_DATABASE_PASSWORD_FILE: the file ")
        assert said in caught.value.message
        assert "secret" not in caught.value.message

    @pytest.mark.parametrize("mistaken", ["s3cret", "s3cret\ns3cret", "s3cret" * 1000])
    def test_a_password_taken_for_the_file_is_not_repeated(
        self, file: Path, monkeypatch: pytest.MonkeyPatch, mistaken: str
    ) -> None:
        monkeypatch.setenv("COUNTERMAND_DATABASE_PASSWORD_FILE", mistaken)

        with pytest.raises(SettingsInvalid) as caught:
            load()

        assert "s3cret" not in caught.value.message

    @pytest.mark.parametrize(
        ("address", "said"),
        [
            ("sqlite:////tmp/x.db", "SQLite takes no password"),
            ("postgresql://host/name", "names no user"),
            ("postgresql://me:other@host/name", "has a password already"),
        ],
    )
    def test_an_address_that_it_does_not_fit(
        self, file: Path, monkeypatch: pytest.MonkeyPatch, address: str, said: str
    ) -> None:
        file.write_text("secret")
        monkeypatch.setenv("COUNTERMAND_DATABASE", address)

        with pytest.raises(SettingsInvalid, match=said) as caught:
            load()

        assert "secret" not in caught.value.message
        assert "other" not in caught.value.message


@pytest.mark.parametrize(
    "address", ["sqlite:////tmp/x.db", "postgresql://h/n", "postgresql+psycopg://h/n"]
)
def test_two_kinds_of_databases_are_supported(address: str) -> None:
    assert load(database=address).database == address


def test_a_broker_is_embedded_or_kafka() -> None:
    assert load(broker="kafka://one:9092,two:9092").broker == "kafka://one:9092,two:9092"


def test_another_broker_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERMAND_BROKER", "amqp://me:secret@host")

    with pytest.raises(SettingsInvalid) as caught:
        load()

    assert caught.value.message.startswith("COUNTERMAND_BROKER: write memory:// for ")
    assert "secret" not in caught.value.message


class TestAPasswordOfTheBroker:
    ADDRESS = "kafka+ssl://one:9092"

    @pytest.fixture(autouse=True)
    def _somebody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COUNTERMAND_BROKER", self.ADDRESS)
        monkeypatch.setenv("COUNTERMAND_BROKER_USER", "ada")

    @pytest.fixture
    def file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("COUNTERMAND_BROKER_PASSWORD_FILE", str(tmp_path / "password"))
        (tmp_path / "password").write_text("s3cret\n")
        return tmp_path / "password"

    @pytest.mark.usefixtures("file")
    def test_it_is_read_from_a_file_and_stands_nowhere_else(self) -> None:
        settings = load()

        assert settings.broker_address.login == Login("ada", "s3cret", "SCRAM-SHA-512")
        shown = [repr(settings), settings.model_dump_json(), repr(settings.broker_address)]
        assert "s3cret" not in str([*shown, environment(settings)])

    def test_that_of_the_environment_is_handed_down_and_shown_nowhere(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COUNTERMAND_BROKER_PASSWORD", "s3cret")
        settings = load()

        assert settings.broker_address.login == Login("ada", "s3cret", "SCRAM-SHA-512")
        assert environment(settings)["COUNTERMAND_BROKER_PASSWORD"] == "s3cret"
        assert "s3cret" not in repr(settings) + settings.model_dump_json()

    @pytest.mark.usefixtures("file")
    def test_a_child_reads_it_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COUNTERMAND_BROKER_MECHANISM", "PLAIN")
        settings = load()
        for name, value in environment(settings).items():
            monkeypatch.setenv(name, value)

        assert load() == settings
        assert load().broker_address == settings.broker_address

    @pytest.mark.usefixtures("file")
    def test_there_is_one_place_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COUNTERMAND_BROKER_PASSWORD", "s3cret")

        with pytest.raises(SettingsInvalid, match="not both") as caught:
            load()

        assert "s3cret" not in caught.value.message

    @pytest.mark.parametrize("mistaken", ["s3cret", "s3cret\ns3cret", "s3cret" * 1000])
    @pytest.mark.parametrize("name", ["PASSWORD_FILE", "KEY", "CERT", "CA"])
    def test_a_password_taken_for_a_file_is_not_repeated(
        self, monkeypatch: pytest.MonkeyPatch, name: str, mistaken: str
    ) -> None:
        monkeypatch.setenv("COUNTERMAND_BROKER_PASSWORD", "other")
        if name == "PASSWORD_FILE":
            monkeypatch.delenv("COUNTERMAND_BROKER_PASSWORD")
        monkeypatch.setenv(f"COUNTERMAND_BROKER_{name}", mistaken)

        with pytest.raises(SettingsInvalid) as caught:
            check_broker(load(), Role.WORKER)

        assert caught.value.message.startswith(f"COUNTERMAND_BROKER_{name}: the file ")
        assert "s3cret" not in caught.value.message

    @pytest.mark.parametrize("name", ["PASSWORD_FILE", "KEY", "CERT", "CA"])
    def test_who_never_speaks_to_it_needs_none_of_its_files(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
    ) -> None:
        if name != "PASSWORD_FILE":
            monkeypatch.setenv("COUNTERMAND_BROKER_PASSWORD", "s3cret")
        monkeypatch.setenv(f"COUNTERMAND_BROKER_{name}", str(tmp_path / "not mounted"))

        settings = load()
        check_broker(load(broker="memory://"), Role.SERVE)

        for role in set(Role) - {Role.SERVE}:
            with pytest.raises(SettingsInvalid, match=f"^COUNTERMAND_BROKER_{name}: the file"):
                check_broker(settings, role)

    @pytest.mark.usefixtures("file")
    def test_what_was_read_of_it_makes_no_other_settings(self) -> None:
        asked = load()

        assert asked.broker_address is asked.broker_address
        assert asked == load()

    @pytest.mark.usefixtures("file")
    def test_a_mechanism_that_there_is_not_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COUNTERMAND_BROKER_MECHANISM", "CRAM-MD5")

        with pytest.raises(SettingsInvalid, match=r"BROKER_MECHANISM: .*'SCRAM-SHA-512'"):
            load()

    @pytest.mark.usefixtures("file")
    @pytest.mark.parametrize("address", ["memory://", "kafka://127.0.0.1:9092"])
    def test_a_broker_of_this_machine_is_reached_as_ever(self, address: str) -> None:
        """The embedded one asks nobody; whoever is set for another is not shown to it."""
        login = load(broker=address).broker_address.login

        assert (login is None) == (address == "memory://")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me@host/name?sslmode=verify-full&sslrootcert=/run/ca.pem",
        "postgresql://me@/name?host=one:5432&host=two:5432&target_session_attrs=primary",
    ],
)
def test_what_an_address_says_beside_the_place_reaches_the_database(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    (tmp_path / "password").write_text("secret")
    monkeypatch.setenv("COUNTERMAND_DATABASE_PASSWORD_FILE", str(tmp_path / "password"))

    opened = make_url(load(database=address).database_address)

    assert opened == make_url(address).set(password="secret")
    assert opened.query == make_url(address).query


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:s3cret@one:5432,two:5432/name",
        "postgresql://one:5432,two/name?sslmode=require",
        "postgresql+psycopg://me@[::1]:5432,[::2]:5432/name",
        "postgresql://one:port/name",
    ],
)
def test_several_hosts_in_one_place_are_refused_with_where_to_write_them(address: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"host=HOST:PORT&host=HOST:PORT") as caught:
        load(database=address)

    assert caught.value.message.startswith("--database: ")
    assert "s3cret" not in caught.value.message


def test_a_child_with_the_environment_has_the_same_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = load(
        data_dir=tmp_path, port=0, lease=2.0, heartbeat=0.5, failpoint="before_claim", sweep=0.25
    )
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)

    assert load() == settings


@pytest.mark.parametrize("name", ["", "a" * 61, "one/two", "one two", "eins-ü"])
def test_a_name_that_no_worker_can_bear_is_refused_with_what_can(name: str) -> None:
    with pytest.raises(SettingsInvalid, match="write 60 characters at most: letters, digits"):
        load(instance=name)


def test_the_longest_name_has_room_in_all_that_is_made_of_it() -> None:
    instance = load(instance="a" * MOST_OF_INSTANCE).instance
    (most,) = (each.le for each in Settings.model_fields["slots"].metadata if isinstance(each, Le))
    slot = f"{instance}-{TimeOrderedIds().new()}-{most}"

    for column in (schema.workers.c.name, schema.chunks.c.worker, schema.owners.c.holder):
        assert isinstance(column.type, String)
        assert len(slot) <= (column.type.length or 0)


@pytest.mark.parametrize("host", ["host", "h" * 50, "h" * 64, "h" * 255])
def test_a_long_name_of_the_host_is_cut_and_still_tells_processes_apart(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr("os.getpid", lambda: 4_194_304)
    names = set()
    for ending in ("", "a", "b"):
        whole = host[: len(host) - len(ending)] + ending
        monkeypatch.setattr("socket.gethostname", lambda whole=whole: whole)
        name = load().instance
        assert name.endswith("-4194304")
        assert load(instance=name).instance == name
        names.add(name)

    assert len(names) == 3


@pytest.mark.parametrize("broker", ["kafka://127.0.0.1:9092", "kafka+ssl://one:9092,two:9092"])
def test_one_process_takes_no_broker_that_it_would_leave_aside(broker: str) -> None:
    settings = load(broker=broker)

    with pytest.raises(SettingsInvalid, match=r"^COUNTERMAND_BROKER .*`countermand worker`"):
        check_broker(settings, Role.SERVE)
    for role in set(Role) - {Role.SERVE}:
        check_broker(settings, role)
    check_broker(load(), Role.SERVE)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1


def test_approval_needs_callers_that_are_told_apart() -> None:
    with pytest.raises(SettingsInvalid, match="set COUNTERMAND_ACTORS=proven as well"):
        load(approval_above=10)

    assert load(approval_above=0, actors="named").approval_above == 0
    assert load(approval_above=0, actors="proven", token_secret=SECRET).approval_above == 0
    assert load().approval_above is None


class TestWhoCalls:
    """What proves who calls is set in full, kept out of sight, and there where others reach."""

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"token_secret": "short"}, "32 bytes or more"),
            ({"jwks": "https://id.example/keys"}, "COUNTERMAND_JWKS_ISSUER names who signs"),
            ({"jwks": "/keys", "jwks_issuer": "countermand"}, "not what COUNTERMAND_TOKEN_ISSUER"),
            ({"jwks": "http://id.example/keys"}, "write an address as https://HOST/PATH"),
            ({"jwks": "ftp://id.example/keys"}, "write an address as https://HOST/PATH"),
            ({"jwks": "https:///keys"}, "write an address as https://HOST/PATH"),
            ({"actors": "everybody"}, "--actors"),
        ],
    )
    def test_a_half_set_proof_is_refused(self, given: dict[str, str], said: str) -> None:
        with pytest.raises(SettingsInvalid, match=said) as caught:
            load(**given)

        assert "short" not in caught.value.message

    @pytest.mark.parametrize("place", ["https://id.example/keys", "http://127.0.0.1:9/keys"])
    def test_an_identity_provider_is_enough(self, place: str) -> None:
        settings = load(actors="proven", jwks=place, jwks_issuer="https://id.example")

        assert (settings.jwks, settings.token_secrets) == (place, ())

    def test_a_file_of_keys_is_found_from_elsewhere(self) -> None:
        settings = load(jwks="keys.json", jwks_issuer="https://id.example")

        assert settings.jwks == str(Path("keys.json").absolute())

    def test_a_file_has_secrets_of_which_the_first_one_signs(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text(f"{SECRET}\n{'o' * 40}\n")

        settings = load(token_secret_file=tmp_path / "secret", actors="proven")

        assert settings.token_secrets == (SECRET, "o" * 40)
        shown = [repr(settings), settings.model_dump_json(), *environment(settings).values()]
        assert "canary" not in str(shown)

    @pytest.mark.parametrize("lines", [[], [""], ["canary"], [SECRET] * 4, [f"{SECRET}\0"]])
    def test_a_file_of_no_use_is_refused(self, tmp_path: Path, lines: list[str]) -> None:
        (tmp_path / "secret").write_text("\n".join(lines))

        with pytest.raises(SettingsInvalid) as caught:
            load(token_secret_file=tmp_path / "secret")

        assert "canary" not in caught.value.message

    def test_a_secret_of_the_environment_is_handed_down_and_shown_nowhere(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COUNTERMAND_TOKEN_SECRET", SECRET)
        settings = load(actors="proven")

        assert settings.token_secrets == (SECRET,)
        assert environment(settings)["COUNTERMAND_TOKEN_SECRET"] == SECRET
        assert "canary" not in repr(settings) + settings.model_dump_json()

    def test_there_is_one_place_for_secrets(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text(SECRET)

        with pytest.raises(SettingsInvalid, match="not both"):
            load(token_secret=SECRET, token_secret_file=tmp_path / "secret")

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1"])
    @pytest.mark.parametrize("actors", ["local", "named"])
    def test_others_are_not_served_unless_they_prove_who_they_are(
        self, monkeypatch: pytest.MonkeyPatch, host: str, actors: str
    ) -> None:
        monkeypatch.setenv("COUNTERMAND_EXPOSED_TO", "api")
        settings = load(host=host, actors=actors)

        for role in (Role.SERVE, Role.API):
            with pytest.raises(SettingsInvalid, match="set COUNTERMAND_ACTORS=proven"):
                check_callers(settings, role)
            check_callers(load(host=host, actors="proven", token_secret=SECRET), role)
        for role in (Role.COORDINATOR, Role.WORKER):
            check_callers(settings, role)

    def test_who_asks_must_be_able_to_check_the_answer(self) -> None:
        settings = load(actors="proven", approval_above=5)

        with pytest.raises(SettingsInvalid, match="set COUNTERMAND_TOKEN_SECRET_FILE for"):
            check_callers(settings, Role.API)
        check_callers(settings, Role.COORDINATOR)

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
    def test_this_machine_is_served_as_it_is(self, host: str) -> None:
        check_callers(load(host=host), Role.SERVE)

    def test_keys_that_nobody_would_use_are_no_protection(self) -> None:
        with pytest.raises(SettingsInvalid, match="nobody would be asked for one"):
            check_callers(load(token_secret=SECRET), Role.SERVE)


@pytest.mark.parametrize(
    "text", ["many", "0/minute", "600", "600/fortnight", "6/minute;w", "-1/day"]
)
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="as 600/minute"):
        load(rate_limit=text)


@pytest.mark.parametrize("text", ["", "1/second", "1200/minute", "999999999/day"])
def test_a_rate_is_so_many_in_a_time(text: str) -> None:
    assert load(rate_failures=text).rate_failures == text


@pytest.mark.parametrize("name", ["items_a_day", "open_jobs", "stored_bytes", "streams"])
def test_a_quota_is_no_less_than_nothing(name: str) -> None:
    with pytest.raises(SettingsInvalid, match=f"--quota-{name.replace('_', '-')}"):
        load(**{f"quota_{name}": -1})


def test_quotas_of_single_tenants_are_read_and_wrong_ones_refused() -> None:
    found = load(quota_streams=9, quotas='{"acme": {"streams": 2}}').quota_table
    assert (found.of("acme").streams, found.of("other").streams) == (2, 9)
    for wrong in ("[]", '{"a/b": {}}', '{"acme": {"jobs": 1}}', '{"acme": {"streams": -1}}', "{"):
        with pytest.raises(SettingsInvalid, match="--quotas"):
            load(quotas=wrong)


def test_limits_are_read_by_name_and_wrong_ones_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said = '{"provider:openai": {"rate": 10, "concurrency": 4}, "queue:shop": {"rate": 1.5}}'
    monkeypatch.setenv("COUNTERMAND_LIMITS", said)
    assert load().limit_table == {
        "provider:openai": Caps(rate=10, concurrency=4),
        "queue:shop": Caps(rate=1.5),
    }
    for wrong in ("{", '{"openai": {"rate": 1}}', '{"queue:shop": {"rate": 0}}'):
        with pytest.raises(SettingsInvalid, match="--limits"):
            load(limits=wrong)


def test_a_worker_s_budget_is_a_part_of_what_ends_it_unless_it_is_said() -> None:
    assert load(worker_memory=1000).memory_budget == 800 << 20
    assert load(worker_memory=1000, worker_memory_budget=300).memory_budget == 300 << 20


@pytest.mark.parametrize("budget", [1000, 4096])
def test_a_budget_above_what_ends_the_worker_is_refused(budget: int) -> None:
    check_memory(load(worker_memory=1000, worker_memory_budget=999))

    with pytest.raises(SettingsInvalid, match=rf"BUDGET \({budget} MiB\) must be less than"):
        check_memory(load(worker_memory=1000, worker_memory_budget=budget))


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("sqlite:////srv/a%20b.db", "/srv/a%20b.db"),
        ("sqlite+pysqlite:///a.db?timeout=3", "a.db"),
        ("sqlite:///file:/srv/a%20b.db?mode=rw&uri=true", "/srv/a b.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("postgresql://me@host/name", None),
    ],
)
def test_the_file_of_a_database_is_the_one_that_sqlite_opens(
    address: str, file: str | None
) -> None:
    assert load(database=address).database_file == (None if file is None else Path(file))


async def test_the_longest_session_is_one_that_the_broker_s_client_takes() -> None:
    settings = load(broker="kafka://127.0.0.1:9", session_timeout=MAX_SESSION)
    app: Any = app_of(settings, StageName.WORKER, instance="one")

    # Refuses what it cannot keep as it is made, before it has spoken to anybody.
    made = app.consumer._thread._create_worker_consumer(app.transport)
    await made.stop()

    assert app.conf.broker_session_timeout == MAX_SESSION


def test_a_session_that_the_broker_s_client_refuses_is_refused_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COUNTERMAND_SESSION_TIMEOUT", "40.1")

    with pytest.raises(SettingsInvalid) as caught:
        load()

    assert caught.value.message == (
        "COUNTERMAND_SESSION_TIMEOUT: Input should be less than or equal to 40 (given: 40.1)"
    )

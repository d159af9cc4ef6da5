"""Where Kafka asks who comes: by TLS, with a password, and with the rights that the page lists."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from domain.errors import BrokerUnavailable
from streams.broker_address import Broker, parse
from streams.broker_security import Access
from streams.topics import DEAD
from streams.topology import all_topics
from streams.transport.kafka import admin
from streams.transport.kafka.configs import CONFIGS, KEPT
from tests.acceptance.commands import asked
from tests.crash.client import Client
from tests.kafka.installation import PARTITIONS, SYSTEMS, installed
from tests.kafka.test_starting import assert_few_words, made, not_ready, tried
from tests.kafka.test_topics import alter
from tests.services.authority import Authority
from tests.services.guarded import (
    ENGINE,
    GROUP,
    KEEPER,
    PASSWORDS,
    SHOWN,
    SIGNED,
    SPOKEN,
    TOPIC,
    GuardedKafka,
    guarded_kafka,
)
from tests.services.postgres import PostgresServer
from tests.services.switch import need

pytestmark = pytest.mark.service("kafka", "postgresql")

PAGE: Final = Path(__file__).parents[2] / "docs/messages.md"
KINDS: Final = {"topics": TOPIC, "groups": GROUP}
TRIES: Final = 2
TOPICS: Final = all_topics(SYSTEMS)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedKafka]:
    """With all topics, and no more rights than are documented."""
    need("kafka")
    with guarded_kafka(tmp_path_factory.mktemp("guarded")) as kafka:
        asyncio.run(grant(kafka))
        yield kafka


async def grant(kafka: GuardedKafka) -> None:
    """What the page says, to whom it says it."""
    row = r"^\| .*`(engine|keeper)` \| (topics|groups) that begin with `([^`]+)` \| ([^|]+) \|"
    rows = re.findall(row, PAGE.read_text(), re.MULTILINE)
    assert {user for user, *_ in rows} == {ENGINE, KEEPER}
    for user, kind, prefix, operations in rows:
        await kafka.allow(user, KINDS[kind], prefix, re.findall("`([A-Za-z]+)`", operations))


def topics(kafka: GuardedKafka, user: str, *verb: str) -> tuple[int, str]:
    ended = asked("topics", *verb, **kafka.variables(user=user))
    assert not any(password in ended.stdout + ended.stderr for password in PASSWORDS.values())
    return ended.returncode, ended.stdout + ended.stderr


def test_who_makes_topics_need_not_be_who_uses_them(guarded: GuardedKafka) -> None:
    code, said = topics(guarded, ENGINE, "create")
    assert (code, "docs/messages.md" in said) == (3, True), said
    assert topics(guarded, KEEPER, "create", "--partitions", "2")[0] == 0
    assert topics(guarded, KEEPER, "grow", "--partitions", str(PARTITIONS))[0] == 0
    code, said = topics(guarded, ENGINE, "grow", "--partitions", str(PARTITIONS + 1))
    assert (code, "docs/messages.md" in said) == (3, True), said
    assert topics(guarded, ENGINE, "check") == topics(guarded, KEEPER, "check")
    assert topics(guarded, ENGINE, "letters") == (0, "there are no dead letters\n")


def test_who_may_not_see_configs_hears_nothing_of_them_and_goes_on(guarded: GuardedKafka) -> None:
    asyncio.run(admin.create(guarded.cluster.url, TOPICS, partitions=PARTITIONS))
    sealed = {"user": KEEPER, "password": PASSWORDS[KEEPER]}
    kept = {**CONFIGS, **KEPT[DEAD]}
    asyncio.run(alter(guarded.cluster.url, DEAD, {**kept, "retention.ms": "604800000"}))
    try:
        seen, unseen = topics(guarded, ENGINE, "check"), topics(guarded, KEEPER, "check")
        asyncio.run(admin.require(guarded.address(**sealed), TOPICS))
    finally:
        asyncio.run(alter(guarded.cluster.url, DEAD, kept))

    assert (seen[0], unseen[0]) == (0, 0)
    assert "retention.ms=604800000" in seen[1]
    assert unseen[1] == "".join(re.findall(r"countermand\.\S+  \d+, kept by 1\n", seen[1]))


@pytest.mark.parametrize("door", [SIGNED, SHOWN, SPOKEN])
def test_whoever_is_known_is_let_in(guarded: GuardedKafka, door: str) -> None:
    asyncio.run(admin.create(guarded.cluster.url, TOPICS, partitions=PARTITIONS))

    found = asyncio.run(admin.look(guarded.address(door), TOPICS))

    assert {state.partitions for state in found} == {PARTITIONS}


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "PLAIN"])
def test_by_tls_a_password_may_be_shown_in_other_ways(
    guarded: GuardedKafka, mechanism: str
) -> None:
    assert asyncio.run(admin.look(guarded.address(mechanism=mechanism), [])) == []


def refused(address: Broker) -> str:
    """Why nobody is let in, as processes that wait say it."""
    with pytest.raises(BrokerUnavailable) as caught:
        asyncio.run(admin.require(address, TOPICS))
    return caught.value.message


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
@pytest.mark.parametrize("said", [{"password": "canary"}, {"user": "nobody"}])
def test_a_wrong_password_is_said_to_be_one(
    guarded: GuardedKafka, mechanism: str, said: dict[str, str]
) -> None:
    words = refused(guarded.address(mechanism=mechanism, **said))

    place, user = guarded.cluster.behind(SIGNED), said.get("user", ENGINE)
    assert words.startswith(f"Kafka at {place} refuses the user {user} or the password"), words
    assert "COUNTERMAND_BROKER_PASSWORD_FILE" in words
    assert "canary" not in words


def test_a_broker_that_an_unknown_authority_has_signed_is_not_spoken_to(
    guarded: GuardedKafka, tmp_path: Path
) -> None:
    words = refused(guarded.address(ca=Authority(tmp_path / "other").ca))

    assert "shows a certificate that is not trusted" in words
    assert "COUNTERMAND_BROKER_CA" in words


def test_a_broker_whose_certificate_is_for_another_name_is_not_spoken_to(
    guarded: GuardedKafka,
) -> None:
    place = guarded.cluster.behind(SIGNED).replace("127.0.0.1", "localhost")
    access = Access(ca=guarded.authority.ca, user=ENGINE, password=PASSWORDS[ENGINE])

    words = refused(parse(f"kafka+ssl://{place}", access))

    assert "certificate is not valid for 'localhost'" in words
    assert "COUNTERMAND_BROKER" in words


def test_who_shows_no_certificate_where_one_is_asked_for_is_told_so(guarded: GuardedKafka) -> None:
    place, access = guarded.cluster.behind(SHOWN), Access(ca=guarded.authority.ca)

    words = refused(parse(f"kafka+ssl://{place}", access))

    assert "set COUNTERMAND_BROKER_CERT" in words


@pytest.mark.parametrize("door", [SIGNED, SHOWN, SPOKEN])
def test_who_shows_nothing_is_let_in_nowhere(guarded: GuardedKafka, door: str) -> None:
    words = refused(f"kafka://{guarded.cluster.behind(door)}")

    named = "COUNTERMAND_BROKER_USER" if door == SPOKEN else "kafka+ssl://"
    assert named in words


def test_who_speaks_tls_where_nobody_does_is_told_so(guarded: GuardedKafka) -> None:
    words = refused(parse(f"kafka+ssl://{guarded.cluster.bootstrap}"))

    assert "the port at which it speaks TLS" in words


def test_who_signs_in_where_nobody_can_is_told_so(guarded: GuardedKafka) -> None:
    access = Access(user=ENGINE, password=PASSWORDS[ENGINE])

    words = refused(parse(guarded.cluster.url, access))

    assert "unset COUNTERMAND_BROKER_USER" in words
    assert PASSWORDS[ENGINE] not in words


@pytest.mark.parametrize("verb", [("letters",), ("redrive", "--code", "held")])
def test_verbs_that_send_and_read_say_as_much(
    guarded: GuardedKafka, tmp_path: Path, verb: Sequence[str]
) -> None:
    (tmp_path / "password").write_text("canary")
    wrong = {"COUNTERMAND_BROKER_PASSWORD_FILE": str(tmp_path / "password")}

    ended = asked("topics", *verb, **{**guarded.variables(), **wrong})

    assert ended.returncode == 3
    assert "refuses the user engine or the password" in ended.stderr
    assert "canary" not in ended.stderr


@pytest.fixture
def database(postgres_process: PostgresServer) -> Iterator[str]:
    with postgres_process.database("guarded") as url:
        yield url


@pytest.mark.timeout(300)
def test_a_job_is_done_by_roles_that_sign_in(
    guarded: GuardedKafka, database: str, tmp_path: Path
) -> None:
    with installed(guarded.cluster, database, tmp_path, **guarded.variables()) as running:
        client = Client(running.url)
        job = client.submit("guarded", "annotations.create_projects", [{"name": "guarded"}])
        assert client.settle(job)["status"] == "completed"
        assert asyncio.run(running.get("/api/v1/partitions"))["items"]
        engines = [service.engine for service in running.services.values()]
        known = [(engine.cmdline(), engine.environ()) for engine in engines]
    logs = [service.log.read_text() for service in running.services.values()]
    assert PASSWORDS[ENGINE] not in str([known, logs])
    assert ("Traceback" in str(logs), '"uncaught"' in str(logs)) == (False, False)


@pytest.mark.timeout(300)
def test_roles_that_may_not_join_their_group_say_which_right_is_missing(
    guarded: GuardedKafka, database: str, tmp_path: Path
) -> None:
    """Kafka's client would wait for ever, and say nothing."""
    asyncio.run(admin.create(guarded.cluster.url, TOPICS, partitions=PARTITIONS))
    known = {**guarded.variables(user=KEEPER), "COUNTERMAND_DATABASE": database}
    with made(tmp_path, known) as roles:
        for role in roles:
            role.start()
        for role in roles:
            lines = tried(role, TRIES)
            said = not_ready(role)
            assert "allows the user keeper too little (GroupAuthorizationFailedError" in said, lines
            assert "docs/messages.md" in said


@pytest.mark.timeout(300)
def test_roles_whose_password_is_wrong_wait_and_say_so_in_few_words(
    guarded: GuardedKafka, database: str, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("canary")
    wrong = {"COUNTERMAND_BROKER_PASSWORD_FILE": str(tmp_path / "password")}
    found = {"COUNTERMAND_DATABASE": database}
    with made(tmp_path, {**guarded.variables(), **wrong, **found}) as roles:
        for role in roles:
            role.start()
        for role in roles:
            lines = tried(role, TRIES)
            assert "refuses the user engine or the password" in not_ready(role), lines
            assert_few_words(lines)
    logs = str([role.log.read_text() for role in roles])
    for word in ("Traceback", '"uncaught"', "canary"):
        assert word not in logs

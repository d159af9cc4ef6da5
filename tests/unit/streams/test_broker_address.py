from __future__ import annotations

import pytest

from streams.broker_address import parse


@pytest.mark.parametrize(
    "address",
    [
        "kafka://one:9092,two:9093",
        "kafka://one:9092;kafka://two:9093",
        " kafka://one, two:9093/ ",
        "kafka://one,kafka://two:9093",
    ],
)
def test_servers_may_be_set_apart_by_commas_and_semicolons(address: str) -> None:
    parsed = parse(address)
    assert parsed.is_kafka
    assert parsed.bootstrap == ["one:9092", "two:9093"]
    assert parsed.for_faust == "kafka://one:9092;kafka://two:9093"


def test_an_address_of_ip_version_6_keeps_its_brackets() -> None:
    assert parse("kafka://[::1]:9093,[fe80::2]").bootstrap == ["[::1]:9093", "[fe80::2]:9092"]


@pytest.mark.parametrize("address", ["memory://", "memory://local"])
def test_the_embedded_broker_has_no_servers(address: str) -> None:
    assert not parse(address).is_kafka


@pytest.mark.parametrize(
    "address",
    ["", "kafka", "memory", "kafka://", "kafka://one,", "one:9092", "amqp://one", "kafka://one/t"],
)
def test_anything_else_is_refused_with_what_to_write(address: str) -> None:
    with pytest.raises(ValueError, match=r"write memory:// for .* or kafka://HOST:PORT,HOST:PORT"):
        parse(address)


@pytest.mark.parametrize("address", ["kafka://one:port", "kafka://one:99999"])
def test_a_port_that_is_none_is_said_to_be(address: str) -> None:
    with pytest.raises(ValueError, match="a port is a number"):
        parse(address)


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="sends no user and password") as caught:
        parse("kafka://me:secret@one:9092")
    assert "secret" not in str(caught.value)

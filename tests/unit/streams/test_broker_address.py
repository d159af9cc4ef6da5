from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from streams.broker_address import parse
from streams.broker_security import Access
from tests.services.authority import Authority, Papers

FAR = "kafka://one:9092"
HERE = "kafka://127.0.0.1:9092"
SAFE = "kafka+ssl://one:9092"
WHO = {"user": "ada", "password": "canary"}


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
    with pytest.raises(ValueError, match="set COUNTERMAND_BROKER_USER and") as caught:
        parse("kafka://me:secret@one:9092")
    assert "secret" not in str(caught.value)


def test_without_tls_and_a_user_a_client_speaks_as_ever() -> None:
    assert parse(FAR).security == {"security_protocol": "PLAINTEXT", "ssl_context": None}


@pytest.mark.parametrize(
    "address", ["kafka+ssl://one:9092,two", "kafka+ssl://one:9092;kafka+ssl://two"]
)
def test_the_scheme_alone_says_that_there_is_tls_which_compares_names(address: str) -> None:
    parsed = parse(address)

    assert parsed.bootstrap == ["one:9092", "two:9092"]
    assert parsed.security["security_protocol"] == "SSL"
    assert parsed.tls is not None
    assert (parsed.tls.check_hostname, parsed.tls.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert parsed.tls.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("address", ["kafka+ssl://", "kafka://one;kafka+ssl://two", "ssl://one"])
def test_two_schemes_in_one_address_are_none(address: str) -> None:
    with pytest.raises(ValueError, match=r"kafka\+ssl://HOST:PORT"):
        parse(address)


def test_an_address_that_was_read_is_taken_as_it_is() -> None:
    parsed = parse(SAFE, Access(**WHO))

    assert parse(parsed) is parsed


@pytest.mark.parametrize("address", [HERE, "kafka://localhost,[::1]:9093", SAFE])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256"])
def test_a_user_signs_in_by_tls_or_on_this_machine(address: str, mechanism: str) -> None:
    parsed = parse(address, Access(**WHO, mechanism=mechanism))  # type: ignore[arg-type] # is one

    protocol = "SASL_SSL" if address == SAFE else "SASL_PLAINTEXT"
    assert parsed.security == {
        "security_protocol": protocol,
        "ssl_context": parsed.tls,
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "ada",
        "sasl_plain_password": "canary",
    }
    assert "canary" not in repr(parsed) + repr(Access(**WHO))


@pytest.mark.parametrize(
    ("address", "access", "said"),
    [
        (SAFE, Access(user="ada"), "COUNTERMAND_BROKER_USER has no password; set"),
        (SAFE, Access(password="canary"), "set COUNTERMAND_BROKER_USER"),
        (FAR, Access(**WHO), r"the way to one:9092 leads .* write kafka\+ssl://"),
        ("kafka://127.0.0.1,10.0.0.9", Access(**WHO), r"the way to 10\.0\.0\.9:9092 leads"),
        (HERE, Access(**WHO, mechanism="PLAIN"), r"write kafka\+ssl://.*, or take SCRAM-SHA-512"),
        (FAR, Access(ca=Path("/ca.pem")), r"COUNTERMAND_BROKER_CA is for TLS; write kafka\+ssl://"),
        (HERE, Access(cert=Path("/one.pem")), "COUNTERMAND_BROKER_CERT is for TLS"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_what_to_set(
    address: str, access: Access, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse(address, access)
    assert "canary" not in str(caught.value)


class TestFilesOfCertificates:
    @pytest.fixture
    def authority(self, tmp_path: Path) -> Authority:
        return Authority(tmp_path / "canary")

    @pytest.fixture
    def papers(self, authority: Authority) -> Papers:
        return authority.issue("ada")

    def test_whoever_it_names_is_trusted_and_nobody_else(self, authority: Authority) -> None:
        tls = parse(SAFE, Access(ca=authority.ca)).tls

        assert tls is not None
        (trusted,) = tls.get_ca_certs()
        assert trusted["subject"] == ((("commonName", "canary"),),)

    def test_a_certificate_is_shown_with_its_key_from_one_file_or_two(self, papers: Papers) -> None:
        assert parse(SAFE, Access(cert=papers.cert, key=papers.key)).tls
        assert parse(SAFE, Access(cert=papers.both)).tls

    @pytest.mark.parametrize("name", ["ca", "cert", "key"])
    @pytest.mark.parametrize("content", [None, b"", b"canary\xff"])
    def test_a_file_of_no_use_is_refused_by_its_setting(
        self, papers: Papers, tmp_path: Path, name: str, content: bytes | None
    ) -> None:
        file = tmp_path / "canary.pem"
        if content is not None:
            file.write_bytes(content)
        files = {"cert": papers.cert, "key": papers.key, name: file}

        with pytest.raises(ValueError, match=f"COUNTERMAND_BROKER_{name.upper()}") as caught:
            parse(SAFE, Access(**files))

        assert "canary" not in str(caught.value)

    def test_a_key_without_its_certificate_is_refused(self, papers: Papers) -> None:
        with pytest.raises(ValueError, match="set COUNTERMAND_BROKER_CERT"):
            parse(SAFE, Access(key=papers.key))

    def test_a_key_of_another_certificate_is_refused(
        self, papers: Papers, authority: Authority
    ) -> None:
        with pytest.raises(ValueError, match="the key that belongs to it"):
            parse(SAFE, Access(cert=papers.cert, key=authority.issue("bob").key))

    def test_a_key_with_a_password_is_refused_and_nobody_asked_for_it(self, papers: Papers) -> None:
        key = load_pem_private_key(papers.key.read_bytes(), None)
        sealed = BestAvailableEncryption(b"canary")
        papers.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed))

        with pytest.raises(ValueError, match="without a password"):
            parse(SAFE, Access(cert=papers.cert, key=papers.key))

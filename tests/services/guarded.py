"""A broker that asks who comes: by TLS, by a password, by a certificate; and has access lists.

Its open door is for the tests themselves, who may do anything by it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from streams.broker_address import BrokerAddress, parse
from streams.broker_security import Access
from tests.services.authority import Authority, Papers
from tests.services.kafka import Guard, KafkaCluster, running_kafka

SIGNED: Final = "SIGNED"
"""TLS and a password."""
SHOWN: Final = "SHOWN"
"""TLS and a certificate."""
SPOKEN: Final = "SPOKEN"
"""A password without TLS."""
ENGINE: Final = "engine"
KEEPER: Final = "keeper"
"""Who makes topics, and nothing else."""
PASSWORDS: Final = {ENGINE: "canary-of-the-engine", KEEPER: "canary-of-the-keeper"}
_SCRAM: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256")
_LOGIN: Final = "org.apache.kafka.common.security.{}LoginModule required{};"

# As Kafka's protocol counts them.
TOPIC, GROUP = 2, 3
_BEGINS_SO: Final = 4
_ALLOW: Final = 3
OPERATIONS: Final = {
    "Read": 3,
    "Write": 4,
    "Create": 5,
    "Alter": 7,
    "Describe": 8,
    "DescribeConfigs": 10,
}


@dataclass(frozen=True, slots=True)
class GuardedKafka:
    """The broker, and what clients show it."""

    cluster: KafkaCluster
    authority: Authority
    papers: Papers
    """Of a client that is called as the engine's user."""

    def variables(self, door: str = SIGNED, user: str = ENGINE) -> dict[str, str]:
        """What a process of ours is started with to come in by a door."""
        scheme = "kafka" if door == SPOKEN else "kafka+ssl"
        said = {"COUNTERMAND_BROKER": f"{scheme}://{self.cluster.behind(door)}"}
        if door != SPOKEN:
            said["COUNTERMAND_BROKER_CA"] = str(self.authority.ca)
        if door == SHOWN:
            said["COUNTERMAND_BROKER_CERT"] = str(self.papers.cert)
            said["COUNTERMAND_BROKER_KEY"] = str(self.papers.key)
            return said
        return {**said, "COUNTERMAND_BROKER_USER": user, **self._password(user)}

    def _password(self, user: str) -> dict[str, str]:
        file = self.authority.folder / f"{user}.password"
        file.write_text(f"{PASSWORDS[user]}\n")
        return {"COUNTERMAND_BROKER_PASSWORD_FILE": str(file)}

    def address(self, door: str = SIGNED, **said: str | Path) -> BrokerAddress:
        """As the settings read it for the engine, but for what is ``said`` otherwise."""
        scheme = "kafka" if door == SPOKEN else "kafka+ssl"
        shown: dict[str, object] = {} if door == SPOKEN else {"ca": self.authority.ca}
        if door == SHOWN:
            shown |= {"cert": self.papers.cert, "key": self.papers.key}
        else:
            shown |= {"user": ENGINE, "password": PASSWORDS[ENGINE]}
        access = Access(**{**shown, **said})  # type: ignore[arg-type] # by name
        return parse(f"{scheme}://{self.cluster.behind(door)}", access)

    async def allow(self, user: str, kind: int, prefix: str, operations: Sequence[str]) -> None:
        """Let a user do so with all topics, or groups, whose names begin so."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.cluster.bootstrap)
        await admin.start()
        try:
            for operation in operations:
                wanted = (kind, prefix, _BEGINS_SO, f"User:{user}", "*", OPERATIONS[operation])
                answer = await admin._send_request(CreateAclsRequest(*wanted, _ALLOW))
                assert not any(code for code, *_ in answer.creation_responses), answer
        finally:
            await admin.close()


@contextlib.contextmanager
def guarded_kafka(folder: Path) -> Iterator[GuardedKafka]:
    """Start one, with an authority of its own in the folder."""
    authority = Authority(folder / "authority")
    server = authority.issue("broker")
    users = [f"{kind}=[name={n},password={p}]" for n, p in PASSWORDS.items() for kind in _SCRAM]
    guard = Guard(
        doors={SIGNED: "SASL_SSL", SHOWN: "SSL", SPOKEN: "SASL_PLAINTEXT"},
        properties=_properties(authority, server),
        users=tuple(users),
    )
    with running_kafka(guard=guard) as cluster:
        yield GuardedKafka(cluster, authority, authority.issue(ENGINE))


def _properties(authority: Authority, server: Papers) -> Mapping[str, str]:
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(server.both),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca),
        # A certificate is called as a user is.
        "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
        f"listener.name.{SHOWN.lower()}.ssl.client.auth": "required",
        **_asking(SIGNED.lower()),
        **_asking(SPOKEN.lower()),
    }


def _asking(door: str) -> dict[str, str]:
    """A door at which users sign in, whichever way they like."""
    name = f"listener.name.{door}"
    users = "".join(f' user_{user}="{password}"' for user, password in PASSWORDS.items())
    scram = {
        f"{name}.{kind.lower()}.sasl.jaas.config": _LOGIN.format("scram.Scram", "")
        for kind in _SCRAM
    }
    return {
        f"{name}.sasl.enabled.mechanisms": ",".join([*_SCRAM, "PLAIN"]),
        f"{name}.plain.sasl.jaas.config": _LOGIN.format("plain.Plain", users),
        **scram,
    }

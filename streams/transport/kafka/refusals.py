"""Refusals: why a broker that is there lets nobody in, of which its client only writes a log.

Whoever cannot come in is told that no server could be reached, whatever the reason. So the
servers are asked once more, one by one, and what the first of them says is what is told.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final

from aiokafka.conn import (  # type: ignore[import-untyped] # ships none
    AIOKafkaConnection,
    collect_hosts,
)
from aiokafka.errors import (  # type: ignore[import-untyped] # ships none
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import (  # type: ignore[import-untyped] # ships none
    MetadataRequest,
)

from streams.broker_address import BrokerAddress

__all__ = ["FORBIDDEN", "refusal"]

ASKING_SECONDS: Final = 3.0
"""For the answer of one server."""
_TLS_ALERT: Final = 0x1503
"""The first two bytes of an answer that TLS has no use for what came: Kafka's would be a length."""
_NOT_UP: Final = "it is not up yet behind its balancer"
"""A balancer takes connections for brokers that do not run, and ends them."""
FORBIDDEN: Final = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)
"""What a broker says to who is let in and has too few rights."""


async def refusal(broker: BrokerAddress, error: Exception) -> str | None:
    """What the broker has against us, with the remedy; None when it is away, or says nothing.

    ``error`` is what its client has made of it.
    """
    if isinstance(error, FORBIDDEN):
        return (
            f"Kafka at {', '.join(broker.servers)} allows {_who(broker)} too little "
            f"({type(error).__name__}); give the rights that docs/messages.md lists"
        )
    for host, port, _ in collect_hosts(broker.bootstrap, randomize=False):
        said = await _said(broker, host, port)
        if said is not None:
            return f"Kafka at {host}:{port} {said}"
    return None


class _Question(AIOKafkaConnection):  # type: ignore[misc] # it has no types
    """A connection that ends without a farewell, by TLS as well.

    Whoever refuses it ends it too, a little later; who has asked may have ended by then.
    """

    def close(self, reason: Any = None, exc: Any = None) -> Any:
        if self._writer is not None:
            self._writer.transport.abort()
        return super().close(reason, exc)


async def _said(broker: BrokerAddress, host: str, port: int) -> str | None:
    question = _Question(host, port, **broker.security)
    try:
        async with asyncio.timeout(ASKING_SECONDS):
            await question.connect()
            await question.send(MetadataRequest([]))
    except (OSError, KafkaError, TimeoutError) as error:
        return _meant(broker, error)
    finally:
        question.close()
    return None


def _meant(broker: BrokerAddress, error: BaseException) -> str | None:
    """The words for an error at the door; None for one that says nothing of who is let in."""
    first = error.__cause__ or error
    return _of_tls(broker, first) or _of_users(broker, first) or _of_an_end(broker, first)


def _of_tls(broker: BrokerAddress, error: BaseException) -> str | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"shows a certificate that is not trusted ({error.verify_message}); see whether "
            "COUNTERMAND_BROKER_CA has who signed it, and COUNTERMAND_BROKER the name that it is "
            "for"
        )
    if isinstance(error, ssl.SSLError) and "CERTIFICATE" in error.reason:
        return (
            "lets in nobody without a certificate that it trusts; set COUNTERMAND_BROKER_CERT and "
            "COUNTERMAND_BROKER_KEY"
        )
    if broker.tls is not None and isinstance(error, ssl.SSLError | ConnectionResetError):
        return (
            f"ends the connection as TLS begins: {_NOT_UP}, or it speaks no TLS there; see whether "
            "it runs, and whether COUNTERMAND_BROKER has the port at which it speaks TLS"
        )
    return None


def _of_users(broker: BrokerAddress, error: BaseException) -> str | None:
    if isinstance(error, SaslAuthenticationFailed):
        return (
            f"refuses {_who(broker)} or the password; see COUNTERMAND_BROKER_USER and "
            "COUNTERMAND_BROKER_PASSWORD_FILE, which are read at the start of a process"
        )
    if isinstance(error, UnsupportedSaslMechanismError) and broker.login is not None:
        return (
            f"takes no {broker.login.mechanism}; set COUNTERMAND_BROKER_MECHANISM to what it takes"
        )
    if isinstance(error, IllegalSaslStateError):
        return (
            "lets nobody sign in at this port; name another one, or unset COUNTERMAND_BROKER_USER"
        )
    return None


def _of_an_end(broker: BrokerAddress, error: BaseException) -> str | None:
    """For a connection that was taken and ended before it gave an answer."""
    if not isinstance(error, asyncio.IncompleteReadError):
        return None
    if broker.tls is None and error.expected and error.expected >> 16 == _TLS_ALERT:
        return "speaks TLS; write kafka+ssl:// in COUNTERMAND_BROKER"
    if broker.login is None:
        return (
            f"ends the connection before it answers: {_NOT_UP}, or it takes nobody who does not "
            "sign in; see whether it runs, or set COUNTERMAND_BROKER_USER and "
            "COUNTERMAND_BROKER_PASSWORD_FILE"
        )
    return None


def _who(broker: BrokerAddress) -> str:
    return f"the user {broker.login.user}" if broker.login else "those who do not sign in"

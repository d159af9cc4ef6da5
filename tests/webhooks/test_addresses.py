"""Nobody has us ask what only we can reach: checked as the connection is made."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from domain.errors import InvalidCommand
from streams.webhooks import Addresses, posting
from streams.webhooks.addresses import REFUSED
from streams.webhooks.sending import Answer, Message
from tests.webhooks.receiver import LOCAL, Receiver

PUBLIC = Addresses(http=True)
REFUSED_ADDRESSES = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.9.9.9",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a00:1::",
    "2001:0:53aa:64c::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "localhost",
    "",
]


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not PUBLIC.allows(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_what_is_public_is_let_through(address: str) -> None:
    assert PUBLIC.allows(address)


def test_a_network_that_was_allowed_is_and_no_other() -> None:
    allowing = Addresses.of("10.1.0.0/16,fd00::/8", http=False)
    assert allowing.allows("10.1.2.3")
    assert allowing.allows("::ffff:10.1.2.3")
    assert allowing.allows("fd12::1")
    assert not allowing.allows("10.2.0.1")
    assert not allowing.allows("fe80::1")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_no_socket_is_made_for_a_refused_address(family: socket.AddressFamily) -> None:
    place = "127.0.0.1" if family is socket.AF_INET else "::1"
    with pytest.raises(PermissionError, match="not sent to"):
        PUBLIC.socket((family, socket.SOCK_STREAM, 6, "", (place, 80)))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "[::1]"],
)
async def test_however_it_is_written_nothing_reaches_this_machine(
    receiver: Receiver, host: str
) -> None:
    port = receiver.url.rpartition(":")[2]
    async with posting(PUBLIC) as post:
        answer = await post(Message(url=f"http://{host}:{port}/", headers={}, body=b"{}"))

    assert answer.status is None
    assert answer.error in (REFUSED, "it is no address", "there is no host of that name")
    assert receiver.got == []


async def test_a_name_is_looked_up_by_each_connection_and_what_it_leads_to_is_checked(
    receiver: Receiver,
) -> None:
    """A name may lead elsewhere the next time; nothing is remembered of the last."""
    url = receiver.url.replace("127.0.0.1", "localhost")
    async with posting(LOCAL) as post:
        assert (await post(Message(url=url, headers={}, body=b"{}"))).taken
    async with posting(PUBLIC) as post:
        assert await post(Message(url=url, headers={}, body=b"{}")) == Answer(None, REFUSED)
    assert len(receiver.got) == 1


async def test_a_name_that_leads_elsewhere_the_next_time_is_refused_then(
    receiver: Receiver,
) -> None:
    places = iter(["127.0.0.1", "127.0.0.2", "127.0.0.2 127.0.0.1"])

    def changing(_host: str, port: int, **_how: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, port))
            for place in next(places).split()
        ]

    url = receiver.url.replace("127.0.0.1", "rebinding.example")
    only = Addresses.of("127.0.0.1/32", http=True)
    async with posting(only, changing) as post:
        message = Message(url=url, headers={}, body=b"{}")
        answers = [await post(message) for _ in range(3)]

    assert [answer.taken for answer in answers] == [True, False, True]
    assert answers[1] == Answer(None, REFUSED)
    assert len(receiver.got) == 2


async def test_a_name_server_that_never_answers_holds_no_thread_of_others() -> None:
    asked, answered, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def slow(_host: str, _port: int, **_how: Any) -> list[Any]:
        loop.call_soon_threadsafe(asked.set)
        answered.wait(20)
        raise socket.gaierror(-3, "try again")

    loop.set_default_executor(ThreadPoolExecutor(1))
    async with posting(LOCAL, slow) as post:
        message = Message(url="http://slow.example/", headers={}, body=b"{}")
        posting_ = [asyncio.create_task(post(message)) for _ in range(3)]
        await asked.wait()
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(lambda: "free") == "free"
        answered.set()
        answers = await asyncio.gather(*posting_)
    assert answers == [Answer(None, "there is no host of that name")] * 3


async def test_without_tls_nothing_is_sent_unless_allowed(receiver: Receiver) -> None:
    async with posting(Addresses.of("127.0.0.0/8", http=False)) as post:
        answer = await post(Message(url=receiver.url, headers={}, body=b"{}"))
    assert answer == Answer(None, "the address is not https")


async def test_why_there_is_no_answer_is_told_without_names(receiver: Receiver) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with posting(LOCAL) as post:
        answer = await post(Message(url=nobody, headers={}, body=b"{}"))
        assert answer == Answer(None, "nobody takes the connection")
        secure = receiver.url.replace("http:", "https:")
        answer = await post(Message(url=secure, headers={}, body=b"{}"))
        assert answer.status is None
        assert "127.0.0.1" not in (answer.error or "")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.org/", "https"),
        ("https://127.0.0.1/", "no public address"),
        ("https://[::1]/", "no public address"),
        ("https://169.254.169.254/latest", "no public address"),
    ],
)
def test_what_shows_at_once_is_said_at_once(url: str, said: str) -> None:
    with pytest.raises(InvalidCommand, match=said):
        Addresses().check(url)


def test_a_name_is_not_looked_up_before_it_is_asked() -> None:
    Addresses().check("https://internal.example/")

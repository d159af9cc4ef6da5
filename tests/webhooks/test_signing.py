"""Messages are signed as others verify them."""

from __future__ import annotations

import base64
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from domain.webhooks import (
    FIRST_RETRY,
    LONGEST_RETRY,
    MAX_ATTEMPTS,
    Filter,
    Subscription,
    pause_before,
)
from streams.webhooks import signing

SECRET, OTHER = b"s" * signing.SECRET_BYTES, b"o" * signing.SECRET_BYTES
BODY = '{"type":"job.finished","data":{"name":"\u00fc"}}'.encode()


def test_another_implementation_verifies_it() -> None:
    headers = dict(signing.headers("msg_1", time.time(), BODY, [SECRET]))

    found = Webhook(signing.shown(SECRET)).verify(BODY, headers)

    assert found["type"] == "job.finished"


def test_either_secret_verifies_while_both_sign() -> None:
    headers = dict(signing.headers("msg_1", time.time(), BODY, [SECRET, OTHER]))
    for secret in (SECRET, OTHER):
        assert Webhook(signing.shown(secret)).verify(BODY, headers)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": "1700000000"},
        {"webhook-signature": f"v1,{base64.b64encode(bytes(32)).decode()}"},
    ],
)
def test_a_message_cannot_be_sent_as_another(change: dict[str, str]) -> None:
    headers = {**signing.headers("msg_1", time.time(), BODY, [SECRET]), **change}
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.shown(SECRET)).verify(BODY, headers)


def test_pauses_grow_to_a_ceiling_and_end() -> None:
    pauses = [pause_before(n, lambda: 0.5) for n in range(2, MAX_ATTEMPTS + 2)]
    assert pauses[0] == FIRST_RETRY
    assert pauses[-1] is None
    known = [pause for pause in pauses if pause is not None]
    assert known == sorted(known)
    assert known[-1] == LONGEST_RETRY
    assert 20 * 3600 < sum(known) < 24 * 3600
    assert pause_before(2, lambda: 0.0) != pause_before(2, lambda: 1.0)
    assert pause_before(2, lambda: 0.5, 1000) == 1000
    assert pause_before(2, lambda: 0.5, 10**8) == LONGEST_RETRY


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "https:///path",
        "example.org",
        "https://user@example.org/",
        "https://user:password@example.org/",
        "https://example.org/#fragment",
        "https://example.org:25/",
        "https://example.org:22/",
        "https://example.org:99999/",
        "https://example.org/a b",
        "https://example.org/\r\nX: y",
        "https://[::1/",
        "https://example.org/" + "x" * 2000,
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        Subscription(url=url, events=("job.finished",))


def test_a_filter_names_events_that_there_are() -> None:
    with pytest.raises(ValueError, match="there is no event"):
        Filter(events=("job.done",))
    assert Filter(events=("*",)).wants("job.finished", "j")
    assert not Filter(events=("job.finished",)).wants("job.submitted", "j")
    assert not Filter(events=("*",), jobs=("k",)).wants("job.finished", "j")
    assert Filter(events=("*",), operations=("shop.*",)).takes("shop.reprice", ())
    assert not Filter(events=("*",), operations=("shop.reprice",)).takes("shop.other", ())
    assert Filter(events=("*",), tags=("a", "b")).takes("x", ("b",))
    assert not Filter(events=("*",), tags=("a",)).takes("x", ("b",))

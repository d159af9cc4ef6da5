"""A webhook by the command line, on both stacks, over the death of who sends."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.acceptance.stack import Stack
from tests.services.receiver import Receiver, receiving

PATIENCE = 40.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def _until(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)
    return found


def _job(stack: Stack, name: str, *more: str) -> str:
    item = json.dumps({"name": name})
    ended = stack.ask("submit", "annotations.create_projects", "-w", "--json", *more, given=item)
    return str(json.loads(ended.stdout.splitlines()[-1])["job_id"])


def test_who_dies_between_the_message_and_its_note_sends_it_again(
    stack: Stack, receiver: Receiver
) -> None:
    made = stack.json("webhook", "create", receiver.url, "--tag", "hooked", "--event", "*")
    hook, secret = made["webhook_id"], made["secret"]
    killed = threading.Event()

    def kill() -> None:
        stack.kill_owner("webhooks")
        killed.set()

    receiver.first = kill
    job_id = _job(stack, "told twice", "--tag", "hooked")
    assert killed.wait(PATIENCE)
    stack.wait_ready()
    events = {(job_id, event["version"]) for event in stack.lines("events", job_id)}

    receiver.has_all(events, secret, PATIENCE)
    assert receiver.told() == events
    _until(lambda: len(receiver.got) > len(events))
    receiver.has_all(events, secret, PATIENCE)
    assert len(set(receiver.ids)) == len(events)

    def settled() -> bool:
        found = stack.json("webhook", "deliveries", hook)["items"]
        return {one["state"] for one in found} == {"delivered"} and len(found) == len(events)

    _until(settled)
    attempts = stack.json("webhook", "attempts", hook)["items"]
    assert {one["status"] for one in attempts} == {204}
    lines = stack.ask("webhook", "deliveries", hook, "--limit", "1", "--state", "delivered")
    assert f"{job_id}  delivered  " in lines.stdout
    assert "attempts, answered 204" in lines.stdout
    assert "there are more: --cursor" in lines.stderr
    assert "answered 204" in stack.ask("webhook", "attempts", hook).stdout
    assert f"{hook}  {receiver.url}  *  enabled" in stack.ask("webhook", "show", hook).stdout
    assert stack.json("webhook", "replay", hook) == {"replayed": 0}
    assert [one["webhook_id"] for one in stack.json("webhook", "list")["items"]].count(hook) == 1
    assert stack.json("webhook", "show", hook)["tags"] == ["hooked"]
    assert stack.json("webhook", "change", hook, "--disable")["disabled"] == "by_request"
    rotated = stack.ask("webhook", "rotate", hook, "--overlap", "0")
    assert rotated.stdout.startswith("whsec_")
    assert stack.json("webhook", "delete", hook)["deleted"]
    assert secret not in stack.log
    assert stack.ask("webhook", "show", hook).returncode == 2

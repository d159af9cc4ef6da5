"""Bad input to the real server: every case of it ends in a clear error or a failed item.

Here is what a client and a handler can do wrong, on real processes over HTTP: items that are
no JSON, wrong types, unknown operations, fields and jobs, no items at all (JSON, NDJSON,
two-phase), idempotency keys used again, a client that drops inside a streamed submit, and
handlers that raise, return nonsense, hang, exit or eat memory.
``test_bad_input_storage.py`` has disks and databases, ``test_bad_input_messages.py`` messages
and other tenants' jobs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

import pytest

from tests.acceptance.bad_input import NDJSON, Site, additions, problem, seed
from tests.acceptance.stack import Stack
from tests.crash.client import JOBS

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Iterator[Site[Stack]]:
    """One for all tests of this file: none of them may disturb the next."""
    before = _faults(stack)
    running = Site(stack)
    seed(running)
    yield running
    assert _faults(stack) == before


def _faults(stack: Stack) -> int:
    """How many ends of an engine nobody has foreseen."""
    return sum(stack.log.count(word) for word in ("Traceback", '"uncaught"'))


class TestItems:
    def test_a_line_that_is_no_json_fails_alone(self, shop: Site[Stack]) -> None:
        lines = b'{"mark":"a"}\n{"mark": \nnonsense\n\xff\xfe\n{"mark":"b"}\n'
        answer = shop.post(f"{JOBS}?operation=crash.create", lines, kind=NDJSON)
        assert answer.status == 202
        job = shop.client.settle(answer.document["job_id"])

        assert job["status"] == "completed_with_errors"
        items = shop.client.items(job["job_id"])
        assert [item["status"] for item in items] == [
            *("succeeded", "failed", "failed", "failed", "succeeded")
        ]
        assert {item["error"]["code"] for item in items[1:4]} == {"not_json"}

    def test_one_that_nests_deeper_than_it_is_read_fails_alone_and_is_shown(
        self, shop: Site[Stack]
    ) -> None:
        nest = "[" * 300 + "]" * 300
        deep = f'{{"mark":{nest}}}'
        lines = f'{{"mark":"a"}}\n{deep}\n{{"mark":"b"}}\n'
        options = quote('{"key":"/mark"}')
        path = f"{JOBS}?operation=crash.create&options={options}"
        answer = shop.post(path, lines.encode(), kind=NDJSON)
        assert answer.status == 202
        job_id = answer.document["job_id"]
        counts = shop.client.settle(job_id)["counts"]
        assert (counts["succeeded"], counts["failed"]) == (2, 1)

        for view in ("?include=item", "?format=ndjson&include=item", "?format=csv&include=item"):
            shown = shop.client.once("GET", f"{JOBS}/{job_id}/items{view}&status=failed")
            assert (shown.status, nest.encode() in shown.body) == (200, True)
        item = shop.client.ask("GET", f"{JOBS}/{job_id}/items/1")
        assert (item["item"], item["bodies"], item["error"]["code"]) == (deep, [deep], "not_json")
        for view in (f"items?key={quote(nest)}", f"diff/{job_id}?key=/mark"):
            assert shop.client.once("GET", f"{JOBS}/{job_id}/{view}").status == 200

        patch = {"colour": "red"}
        problem(shop.post(f"{JOBS}/{job_id}/retry", {"patch": patch}), 422, "invalid", "/patch")
        assert shop.post(f"{JOBS}/{job_id}/retry", {"patch": {"mark": "c"}}).status == 202
        assert shop.client.settle(job_id)["status"] == "completed"

    @pytest.mark.parametrize(
        ("item", "pointer"),
        [
            ({"mark": 5}, "/mark"),
            ({"mark": None}, "/mark"),
            ({}, "/mark"),
            ({"mark": "a", "colour": "red"}, "/colour"),
            (17, ""),
            ([], ""),
            (None, ""),
        ],
    )
    def test_a_wrong_item_fails_with_its_place(
        self, shop: Site[Stack], item: Any, pointer: str
    ) -> None:
        job = shop.settled("crash.create", [{"mark": "before"}, item, {"mark": "after"}])

        before, wrong, after = shop.client.items(job["job_id"])
        assert (before["status"], after["status"]) == ("succeeded", "succeeded")
        assert wrong["status"] == "failed"
        assert (wrong["error"]["code"], wrong["error"]["pointer"]) == ("invalid", pointer)


STUMBLES = {
    "nonsense": "plugin_invalid",
    "no_message": "plugin_invalid",
    "no_code": "plugin_invalid",
    "nul": "broken",
    "base": "handler_error",
    "closed": "handler_error",
    "speechless": "handler_error",
}
"""What handlers do that they should not, with the code of the item that comes of it."""


class TestRequests:
    @pytest.mark.parametrize(
        ("fields", "code", "pointer"),
        [
            ({"operation": "nobody.knows"}, "unknown_operation", "/operation"),
            ({"operation": 7}, "invalid", "/operation"),
            ({"items": {}}, "invalid", "/items"),
            ({"items": []}, "invalid", "/items"),
            ({"priority": "high"}, "invalid", "/priority"),
            ({"params": {"speed": 9}}, "invalid", "/params/speed"),
            ({"colour": "red"}, "invalid", "/colour"),
            ({"options": {"chunks": 3}}, "invalid", "/options/chunks"),
        ],
    )
    def test_a_wrong_field_is_refused_with_its_place(
        self, shop: Site[Stack], fields: dict[str, Any], code: str, pointer: str
    ) -> None:
        body = {"operation": "crash.create", "items": [{"mark": "a"}], **fields}

        problem(shop.post(JOBS, body), 422, code, pointer)

    @pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"a"', b"\xff", b"[" * 100_000])
    def test_a_body_that_is_no_object_is_malformed(self, shop: Site[Stack], body: bytes) -> None:
        problem(shop.post(JOBS, body), 400, "malformed_body")

    @pytest.mark.parametrize("body", [b"", b"\n", b"\n\r\n  \n"])
    def test_no_lines_are_no_job(self, shop: Site[Stack], body: bytes) -> None:
        answer = shop.post(f"{JOBS}?operation=crash.create", body, kind=NDJSON)

        assert "at least one item" in problem(answer, 422, "invalid", "/items")

    def test_a_draft_without_items_is_not_sealed_and_can_go_on(self, shop: Site[Stack]) -> None:
        draft = shop.post(JOBS, {"operation": "crash.create", "draft": True}).document["job_id"]

        problem(shop.post(f"{JOBS}/{draft}/items?part=0", []), 422, "invalid", "/items")
        assert "item" in problem(shop.post(f"{JOBS}/{draft}/seal", {}), 422, "invalid")

        assert shop.post(f"{JOBS}/{draft}/items?part=0", [{"mark": "a"}]).status == 202
        assert shop.post(f"{JOBS}/{draft}/seal", {"items": 1}).status == 202
        assert shop.client.settle(draft)["status"] == "completed"

    @pytest.mark.parametrize(
        "path", ["", "/events", "/items", "/items?format=ndjson", "/errors", "?at=1"]
    )
    def test_an_unknown_job_is_not_found(self, shop: Site[Stack], path: str) -> None:
        problem(shop.client.once("GET", f"{JOBS}/{NOBODY}{path}"), 404, "job_not_found")

    @pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "retry", "undo", "seal"])
    def test_an_unknown_job_takes_no_command(self, shop: Site[Stack], verb: str) -> None:
        problem(shop.post(f"{JOBS}/{NOBODY}/{verb}", {}), 404, "job_not_found")


class TestIdempotencyKeys:
    def test_the_same_body_is_the_same_job(self, shop: Site[Stack]) -> None:
        body = {"operation": "crash.create", "items": [{"mark": "a"}]}
        first, again = (shop.post(JOBS, body, key="same") for _ in range(2))

        assert (first.status, again.status) == (202, 202)
        assert first.document["job_id"] == again.document["job_id"]
        assert shop.client.settle(first.document["job_id"])["counts"]["succeeded"] == 1

    def test_another_body_is_a_conflict_and_no_job(self, shop: Site[Stack]) -> None:
        body = {"operation": "crash.create", "items": [{"mark": "a"}]}
        job_id = shop.post(JOBS, body, key="other").document["job_id"]
        shop.client.settle(job_id)

        for change in ({"items": [{"mark": "b"}]}, {"operation": "crash.add"}, {"name": "n"}):
            answer = shop.post(JOBS, {**body, **change}, key="other")
            assert "key" in problem(answer, 409, "idempotency_conflict", "/Idempotency-Key")
        assert shop.client.job(job_id)["counts"]["total"] == 1


class TestDroppingClients:
    def test_nothing_runs_and_the_upload_stays_unclaimed(self, shop: Site[Stack]) -> None:
        known, unclaimed = self._jobs(shop), self._unclaimed(shop)
        with closing(shop.connect()) as connection:
            connection.putrequest("POST", f"{JOBS}?operation=crash.create")
            connection.putheader("Content-Type", NDJSON)
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            for _ in range(8):
                # Not to be compressed, so that the server does not keep all of it in memory.
                lines = [b'{"mark":"%s"}\n' % os.urandom(75).hex().encode() for _ in range(5000)]
                block = b"".join(lines)
                connection.send(b"%x\r\n%b\r\n" % (len(block), block))
            self._until(lambda: self._unclaimed(shop) == unclaimed + 1)
        # What came later is worked; by then the torn one would have been seen.
        shop.settled("crash.create", [{"mark": "later"}])

        assert self._jobs(shop) == known + 1
        assert self._unclaimed(shop) == unclaimed + 1

    def _jobs(self, shop: Site[Stack]) -> int:
        return self._count(shop, "SELECT count(DISTINCT job_id) FROM events")

    def _unclaimed(self, shop: Site[Stack]) -> int:
        return self._count(shop, "SELECT count(*) FROM uploads WHERE job_id IS NULL")

    def _count(self, shop: Site[Stack], sql: str) -> int:
        ((count,),) = shop.server.rows(sql)
        return int(count)

    def _until(self, holds: Any) -> None:
        until = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < until
            time.sleep(0.01)


class TestHandlers:
    @pytest.mark.parametrize("fault", ["raise", "cancel", "exit", "interrupt", *STUMBLES])
    def test_one_that_raises_fails_its_item_alone(self, shop: Site[Stack], fault: str) -> None:
        self._misbehaves(shop, fault, STUMBLES.get(fault, "handler_error"), seconds=5.0)

    @pytest.mark.parametrize("fault", STUMBLES)
    @pytest.mark.parametrize("kind", ["crash.stumble", "crash.stumble_in_thread"])
    def test_a_slow_one_fails_its_item_alone(
        self, shop: Site[Stack], kind: str, fault: str
    ) -> None:
        items = [{"mark": f"{kind}-{fault}-{number}"} for number in range(3)]
        job_id = shop.accepted(kind, [items[0], {**items[1], "fault": fault}, items[2]])
        self._only_the_second_failed(shop, job_id, STUMBLES[fault], seconds=5.0)

    @pytest.mark.crash
    @pytest.mark.parametrize(("fault", "chunk_size"), [("die", "auto"), ("hang", 1), ("eat", 1)])
    def test_one_that_ends_its_process_fails_its_item_alone(
        self, shop: Site[Stack], fault: str, chunk_size: int | str
    ) -> None:
        """Its process is replaced, and the chunk is halved until the item is found.

        Where other processes live on, each of its five deaths costs the time of a lease.
        """
        fields = {"options": {"chunk_size": chunk_size}}
        self._misbehaves(shop, fault, "worker_died", seconds=60.0, **fields)

    def _misbehaves(
        self, shop: Site[Stack], fault: str, code: str, seconds: float, **fields: Any
    ) -> None:
        job_id = shop.accepted(
            "crash.misbehave", additions(shop.counters[:3], {1: fault}), **fields
        )
        self._only_the_second_failed(shop, job_id, code, seconds)

    def _only_the_second_failed(
        self, shop: Site[Stack], job_id: str, code: str, seconds: float
    ) -> None:
        job = shop.client.settle(job_id, seconds)

        first, wrong, last = shop.client.items(job_id)
        assert (first["status"], wrong["status"], last["status"]) == (
            *("succeeded", "failed", "succeeded"),
        ), (first, wrong, last)
        assert wrong["error"]["code"] == code
        assert "Traceback" not in wrong["error"]["message"]
        assert job["status"] == "completed_with_errors"

"""Pages of very much: how soon they are seen and answer, and what they keep in memory while told.

``python -m tests.proof --only dashboard-large`` has the figures. The sample, which runs with all
other tests, has fewer jobs and items, half a minute of events, and time for what runs beside it.
"""

from __future__ import annotations

import itertools
import os
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import pytest
from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.acceptance.embedded import serving
from tests.acceptance.plugins import all_plugins
from tests.crash.client import AT_REST, JOBS, Client
from tests.dashboard.multitude import multiply
from tests.dashboard.site import ADA, Dashboard, Signed, wait_listed
from tests.proof.figures import tell
from tests.unit.streams.identity.signing import SECRET

MB: Final = 1_000_000
PATIENCE: Final = 20_000
"""Milliseconds after which something is no longer waited for."""
WORKED: Final = 1800.0
"""Seconds within which the large job is done."""
MOST: Final = 32 * MB
"""Bytes of live JavaScript that a page may have at any time."""
MOST_GROWTH: Final = 1.1
"""By how much a page of a list may have more in the second half of the time than in the first."""
CHUNKS: Final = 25
"""Chunks a second of a job that runs meanwhile; what is planned or closed together is one event."""
EVERY: Final = 5.0
"""Seconds between two looks at the memory."""


@dataclass(frozen=True)
class Size:
    """Jobs in the list, items of the large job, and seconds of live events."""

    jobs: int
    items: int
    seconds: float
    looks: int
    """How often a page is opened, each time by a browser that knows nothing yet."""
    soon: float = 1000.0
    """Milliseconds within which a page is seen, and has answered."""
    rate: float = 50.0
    """Events a second that every page is told of, at least."""
    busy: int = 8
    """Jobs that run meanwhile: four bring about 40 events a second on a slow machine."""

    @property
    def terms(self) -> dict[str, Any]:
        """What figures say of it."""
        return {"jobs": f"{self.jobs:,}", "items": f"{self.items:,}", "load": _load()}


FULL: Final = Size(100_000, 1_000_000, 600.0, 9)
# Other tests take their part of the processors meanwhile.
SAMPLE: Final = Size(5_000, 10_000, 30.0, 2, soon=4000.0, rate=10.0, busy=3)


@dataclass(frozen=True)
class Place:
    """A page, what has to be there before somebody acts, the act, and what it leads to."""

    name: str
    where: str
    there: str
    act: str
    answered: str


_TIMED = """
const next = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
const until = async (found) => {
  while (!found()) await new Promise(requestAnimationFrame);
  await next();
  return performance.now();
};
window.timed = (async () => {
  const there = await until(() => %(there)s);
  if (%(answered)s) throw new Error("the act has nothing to change");
  (() => { %(act)s })();
  const answered = await until(() => %(answered)s);
  const [painted] = performance.getEntriesByName("first-contentful-paint");
  return { painted: painted.startTime, there, answered };
})();
"""
"""Milliseconds since the page was asked for; a frame later it is on the screen."""


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


@contextmanager
def _served(folder: Path, browser: Browser, size: Size) -> Iterator[tuple[Dashboard, str]]:
    """A server with a long list and a large job; gives the job as well."""
    variables = {
        "PYTHONPATH": all_plugins(folder / "plugins"),
        "COUNTERMAND_ACTORS": "proven",
        "COUNTERMAND_TOKEN_SECRET": SECRET,
        "COUNTERMAND_RATE_LIMIT": "",
    }
    data = folder / "data"
    data.mkdir()
    with serving(data, **variables) as server:
        large = _large_job(Signed(server.url, ADA), size.items)
        models = _models(Signed(server.url, ADA))
        server.stop()
        multiply(server.file, models, size.jobs - len(models) - 1)
        server.start()
        yield Dashboard(server, browser), large


def _large_job(client: Client, items: int) -> str:
    """A job of so many items, of which each thousandth cannot be worked."""
    lines = b"".join(
        b'{"ms":"no"}\n' if number % 1000 == 7 else b'{"ms":0}\n' for number in range(items)
    )
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "large"}
    answer = client.once("POST", f"{JOBS}?operation=walker.step&name=Large", lines, headers)
    assert answer.status == 202, answer
    job_id = str(answer.document["job_id"])
    assert _settled(client, job_id)["counts"]["pending"] == 0
    return job_id


def _settled(client: Client, job_id: str) -> Any:
    """The job at rest; who asks more often than once a second takes from those that work on it."""
    until = time.monotonic() + WORKED
    while (job := client.job(job_id))["status"] not in AT_REST:
        assert time.monotonic() < until, f"the large job takes too long: {job['counts']}"
        time.sleep(1.0)
    return job


def _models(client: Client) -> list[str]:
    """Jobs that ended in several ways."""
    kinds: list[tuple[str, str, list[Any]]] = [
        ("Walk", "walker.step", [{"ms": 0}] * 5),
        ("Stumble", "walker.step", [{"ms": 0}, {"ms": "no"}]),
        ("Fall", "walker.step", [{"ms": "no"}] * 3),
        ("Open shelves", "stock.open", [{"code": "a", "amount": 1}]),
        ("Deliver", "stock.add", [{"code": "a", "amount": 1}, {"code": "b", "amount": 1}]),
    ]
    found = []
    for name, operation, items in kinds:
        job_id = client.submit(name, operation, items, name=name, tags=["copied"])
        client.settle(job_id)
        found.append(job_id)
    # What the list does not show cannot be copied from it.
    wait_listed(client, found)
    return found


# -- how soon ---------------------------------------------------------------------------------


def _opened(dashboard: Dashboard, place: Place) -> dict[str, float]:
    """Milliseconds until a page is painted, is there, and has answered."""
    script = _TIMED % {"there": place.there, "act": place.act, "answered": place.answered}
    with dashboard.page(place.where, script=script) as page:
        found: dict[str, float] = page.evaluate("() => window.timed")
        return found


def _tell_times(name: str, milliseconds: Sequence[float], size: Size) -> float:
    """The median, as a figure with the worst."""
    median = statistics.median(milliseconds)
    words = f"{median:.0f} ms, the slowest of {len(milliseconds)} {max(milliseconds):.0f} ms"
    tell(name, words, **size.terms)
    return median


def _soon(dashboard: Dashboard, place: Place, size: Size) -> None:
    looks = [_opened(dashboard, place) for _ in range(size.looks)]
    for part, words in (("painted", "first paint"), ("there", "shown"), ("answered", "answered")):
        median = _tell_times(f"{place.name}: {words}", [look[part] for look in looks], size)
        assert median < size.soon, f"{place.name}: {words}"


def _answers(page: Page, name: str, act: str, answered: str, size: Size) -> None:
    """How long an act on an open page takes; once, as who does it would wait."""
    script = f"""async () => {{
        const began = performance.now(), frame = () => new Promise(requestAnimationFrame);
        if ({answered}) throw new Error("it was so before");
        {act};
        while (!({answered})) {{
            if (performance.now() - began > {PATIENCE}) throw new Error("it does not answer");
            await frame();
        }}
        await frame();
        return performance.now() - began;
    }}"""
    took = _tell_times(name, [page.evaluate(script)], size)
    assert took < size.soon, name


_ALL_DELIVER: Final = (
    "[...document.querySelectorAll('tr[data-job] th bdi:first-child')].slice(0, 10)"
    ".every(each => each.textContent.startsWith('Deliver'))"
)
_ROWS: Final = "[...document.querySelectorAll('tr[data-job] .chip')].map(each => each.textContent)"


def _list_answers(dashboard: Dashboard, size: Size) -> None:
    with dashboard.page("#/jobs") as page:
        expect(page.locator("tr[data-job]").first).to_be_visible()
        box = "document.querySelector('input[name=status][value=failed]').click()"
        failed = f"(found => found.length > 9 && found.every(each => each === 'failed'))({_ROWS})"
        _answers(page, "list filtered by status", box, failed, size)
        _answers(page, "filter taken away", box, f"!({failed})", size)
        search = "document.querySelector('input[name=q]')"
        typed = f"{search}.value = 'walk 1,005'; {search}.dispatchEvent(new Event('input'))"
        found = "document.querySelector('.size').textContent === '1 job'"
        _answers(page, "list searched for a name", typed, found, size)
        page.get_by_role("button", name="Clear").click()
        expect(page.locator(".size")).to_have_text("100+ jobs")
        sort = "document.querySelector('select[name=sort]')"
        sorted_ = f"{sort}.value = 'name'; {sort}.dispatchEvent(new Event('change'))"
        _answers(page, "list sorted by name", sorted_, _ALL_DELIVER, size)
        for number in range(2, 12):
            end = "document.querySelector('.list').scrollTo(0, 1e9)"
            longer = f"document.querySelector('.size').textContent === '{number * 100:,}+ jobs'"
            _answers(page, f"page {number} of the list", end, longer, size)


# -- how much memory --------------------------------------------------------------------------


class Memory:
    """What a page keeps: looked at after its garbage was collected."""

    def __init__(self, page: Page) -> None:
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._session.send("HeapProfiler.enable")
        self.bytes: list[int] = []
        self.nodes: list[int] = []

    def look(self) -> None:
        """Keep one more figure of each."""
        self._session.send("HeapProfiler.collectGarbage")
        self.bytes.append(self._session.send("Runtime.getHeapUsage")["usedSize"])
        self.nodes.append(self._session.send("Memory.getDOMCounters")["nodes"])

    @property
    def growth(self) -> float:
        """The median of the second half of the looks, over that of the first."""
        half = len(self.bytes) // 2
        return statistics.median(self.bytes[half:]) / statistics.median(self.bytes[:half])

    def tell(self, name: str, seconds: float) -> None:
        """As figures."""
        values = f"{statistics.median(self.bytes) / MB:.1f} MB, at most {max(self.bytes) / MB:.1f}"
        terms = {"seconds": f"{seconds:.0f}", "looks": len(self.bytes)}
        tell(f"{name}: live memory", values, **terms)
        tell(f"{name}: its second half over its first", f"{self.growth:.2f}", **terms)
        tell(f"{name}: nodes of the document at most", max(self.nodes), **terms)


class Busy:
    """Jobs that run all the while: some of many small chunks, and small ones beside them."""

    def __init__(self, client: Client, size: Size) -> None:
        self._client = client
        self._over = threading.Event()
        self._beside = threading.Thread(target=self._submit)
        many = [{"ms": 0}] * int(CHUNKS * size.seconds * 2)
        options = {"chunk_size": 1, "rate": CHUNKS}
        self.jobs = [
            client.submit(f"busy {number}", "walker.step", many, name="Busy", options=options)
            for number in range(size.busy)
        ]

    def __enter__(self) -> Self:
        self._beside.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._beside.join()
        for job in self.jobs:
            self._client.command(job, "cancel", f"enough of {job}")

    def _submit(self) -> None:
        for number in itertools.count():
            if self._over.wait(0.5):
                return
            self._client.submit(f"beside {number}", "walker.step", [{"ms": 1}] * 2, name="Beside")


_TOLD = """async (where) => {
    const { follow } = await import(where);
    window.told = 0;
    follow(() => { window.told += 1; }, () => {});
}"""
_KEYED = """async () => {
    const began = performance.now();
    const key = new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true });
    (document.querySelector(".list") ?? document.body).dispatchEvent(key);
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    return performance.now() - began;
}"""


def _count_events(page: Page) -> None:
    """From now on ``window.told`` says how many events the page was told of."""
    where = page.locator("script[type=module]").get_attribute("src")
    assert where
    page.evaluate(_TOLD, where.replace("app.js", "parts/live.js"))


def _keeps_little(dashboard: Dashboard, size: Size) -> None:
    wanted = size.rate * size.seconds
    with (
        Busy(dashboard.client, size) as busy,
        dashboard.page("#/jobs") as listed,
        dashboard.page(f"#/jobs/{busy.jobs[0]}") as shown,
    ):
        pages = {"list": listed, "job": shown}
        memories = {name: Memory(page) for name, page in pages.items()}
        for page in pages.values():
            expect(page.locator("[data-state=live]")).to_have_text("Live")
            _count_events(page)
        began, passed, told, frames = time.monotonic(), 0.0, 0, []
        while passed < size.seconds:
            listed.wait_for_timeout(EVERY * 1000)
            for name, page in pages.items():
                frames.append(page.evaluate(_KEYED))
                memories[name].look()
            passed = time.monotonic() - began
            told = min(page.evaluate("() => window.told") for page in pages.values())
    tell("events that each page was told of", f"{told:,}", seconds=f"{passed:.0f}")
    _tell_times("an open page answers among them", frames, size)
    for name, memory in memories.items():
        memory.tell(f"{name} page", passed)
    assert told >= wanted
    assert statistics.median(frames) < size.soon
    for memory in memories.values():
        assert max(memory.bytes) < MOST
    assert memories["list"].growth < MOST_GROWTH


# -- all of it --------------------------------------------------------------------------------

_LIST: Final = Place(
    "list",
    "#/jobs",
    there="document.querySelector('tr[data-job] a')",
    act="document.querySelector('.list').dispatchEvent("
    "new KeyboardEvent('keydown', { key: 'ArrowDown', bubbles: true }))",
    answered="document.activeElement.closest('tr[data-job]')",
)


def _job_place(large: str) -> Place:
    return Place(
        "job",
        f"#/jobs/{large}",
        there="document.querySelector('.job-head .facts') && document.querySelector('.tabs a')",
        act="document.querySelector('.tabs a[href*=items]').click()",
        answered="document.querySelector('table.plain tbody tr:nth-child(50)')",
    )


def _job_answers(dashboard: Dashboard, large: str, size: Size) -> None:
    with dashboard.page(f"#/jobs/{large}?tab=items") as page:
        rows = "document.querySelectorAll('table.plain tbody tr')"
        expect(page.locator("table.plain tbody tr")).to_have_count(50)
        later = "document.querySelector('.row.end button:last-child').click()"
        moved = f"{rows}[0].textContent.startsWith('50')"
        _answers(page, "items: the next page", later, moved, size)
        chosen = "document.querySelector('select[name=status]')"
        failed = f"{chosen}.value = 'failed'; {chosen}.dispatchEvent(new Event('change'))"
        every = f"[...{rows}].every(each => each.textContent.includes('failed'))"
        _answers(page, "items filtered by status", failed, f"{rows}.length > 9 && {every}", size)
        for tab, there in (
            ("errors", "document.querySelector('.group')"),
            ("audit", "document.querySelector('table.plain code[title]')"),
            (
                "undo",
                "document.querySelector('main h2')?.textContent === 'What an undo would do now'",
            ),
        ):
            click = f"document.querySelector('.tabs a[href*={tab}]').click()"
            _answers(page, f"job: {tab}", click, there, size)


def _shown(folder: Path, browser: Browser, size: Size) -> None:
    with _served(folder, browser, size) as (dashboard, large):
        _soon(dashboard, _LIST, size)
        _list_answers(dashboard, size)
        _soon(dashboard, _job_place(large), size)
        _job_answers(dashboard, large, size)
        _keeps_little(dashboard, size)


@pytest.fixture
def dashboard() -> None:
    """Those of this file have servers of their own."""


@pytest.fixture(autouse=True)
def taking_work() -> None:
    """They wait for these themselves."""


@pytest.mark.timeout(400)
def test_sample_of_long_lists_and_large_jobs(tmp_path: Path, browser: Browser) -> None:
    _shown(tmp_path, browser, SAMPLE)


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_full_length_of_lists_and_jobs(tmp_path: Path, browser: Browser) -> None:
    _shown(tmp_path, browser, FULL)

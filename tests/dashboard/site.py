"""Site: a running server, and a browser that watches what its pages do."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, ConsoleMessage, Page, Route

from tests.acceptance.embedded import Server
from tests.crash.client import JOBS, Answer, Client
from tests.unit.streams.identity.signing import token

TENANT: Final = "local"
TOKEN: Final = "countermand.token"
AXE: Final = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
THEMES: Final = ("light", "dark")
ADA: Final = token(sub="ada", tenant=TENANT, roles=["admin", "steward", "operator"])
"""May everything."""
ANNA: Final = token(sub="anna", tenant=TENANT, roles=["admin", "approver", "steward", "operator"])
"""As ada, who is somebody else."""
AWAY: Final = (
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
    "ERR_INCOMPLETE_CHUNKED_ENCODING",
    "503 (Service Unavailable)",
)
"""What a browser says of a server that is away."""
OVERTAKEN: Final = ("409 (Conflict)", "/undo-preview?")
"""What a browser says, and of what, when a job is undone while its preview is being read: the page
asks whether there is one just before, and shows the answer until it has read the job again."""


LOSING: Final = """
const own = window.fetch;
window.fetch = async (where, how) => {
  const answer = await own(where, how);
  if (!window.lose || how?.method !== "POST" || !String(where).includes(window.lose)) return answer;
  window.lose = "";
  throw new TypeError("the connection is gone");
};
"""
"""Run before a page's own scripts: the next answer from where ``window.lose`` says is lost."""

BREAKING: Final = """
const own = window.fetch;
window.fetch = async (where, how) => {
  const answer = await own(where, how);
  if (!window.lose || how?.method !== "POST" || !String(where).includes(window.lose)) return answer;
  window.lose = "";
  const cut = new ReadableStream({ start: (body) => body.error(new TypeError("cut off")) });
  return new Response(cut, { status: answer.status, headers: answer.headers });
};
"""
"""The same for an answer of which the beginning alone has come."""

ROUNDING: Final = """
delete JSON.rawJSON;
const parse = JSON.parse;
JSON.parse = (text, revive) =>
  parse(text, revive && function (name, value) { return revive.call(this, name, value); });
"""
"""Makes a browser one that keeps no whole number beyond 2^53."""


class Signed(Client):
    """A caller with a token."""

    def __init__(self, url: str, credential: str) -> None:
        super().__init__(url)
        self._credential = credential

    def once(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request in somebody's name."""
        who = {"Authorization": f"Bearer {self._credential}"}
        return super().once(method, path, body, {**who, **(headers or {})})


class Dashboard:
    """A server with jobs, and pages of it in a browser."""

    def __init__(self, server: Server, browser: Browser) -> None:
        self.server = server
        self._browser = browser
        self.client = Signed(server.url, ADA)
        self.other = Signed(server.url, ANNA)

    def submit(self, operation: str, items: Sequence[Any], **fields: Any) -> str:
        """A job of ada's."""
        return self.client.submit(uuid.uuid4().hex, operation, items, **fields)

    @contextmanager
    def page(
        self,
        where: str = "",
        *,
        credential: str = ADA,
        known: Sequence[str] = (),
        width: int = 1280,
        height: int = 800,
        theme: str = "light",
        script: str = "",
        phone: bool = False,
    ) -> Iterator[Page]:
        """A page in which somebody is signed in, and nothing goes wrong that nobody sees.

        ``known`` are words of what the browser itself is going to write to the console; ``script``
        is run before those of the page. A ``phone`` is touched, and shows no scroll bars.
        """
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,  # type: ignore[arg-type] - one of THEMES
            accept_downloads=True,
            is_mobile=phone,
            has_touch=phone,
        )
        watch = Watch(self.server.url, known)
        try:
            if credential:
                context.add_init_script(f"sessionStorage.setItem('{TOKEN}', '{credential}')")
            if script:
                context.add_init_script(script)
            page = context.new_page()
            watch.over(page)
            page.goto(f"{self.server.url}/{where}")
            yield page
            watch.check()
        finally:
            context.close()


def module(page: Page, path: str) -> str:
    """The address of one of the page's modules, for what is tried by itself."""
    digest = page.locator("script[type=module]").get_attribute("src")
    assert digest
    return digest.replace("app.js", path)


def wait_listed(client: Client, jobs: Sequence[str]) -> None:
    """Return when the list, which lags a little, shows these jobs among the latest."""
    until = time.monotonic() + 30.0
    while not {each["job_id"] for each in client.ask("GET", JOBS)["items"]} >= {*jobs}:
        assert time.monotonic() < until, "the list does not show them"
        time.sleep(0.05)


class Held:
    """Requests of a page that are kept back, for a test to let go or to answer."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def keep(self, route: Route) -> None:
        """The handler of a route."""
        self.routes.append(route)

    def wait(self, page: Page, count: int = 1) -> None:
        """Return when so many have come."""
        until = time.monotonic() + 20.0
        while len(self.routes) < count:
            assert time.monotonic() < until, f"{len(self.routes)} of {count} requests have come"
            page.wait_for_timeout(50)


class Watch:
    """What a page should not do: complain, be refused by its policy, speak to others."""

    def __init__(self, url: str, known: Sequence[str]) -> None:
        self._url = url
        self._known = known
        self.complaints: list[str] = []

    def over(self, page: Page) -> None:
        """Watch a page from now on."""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._asked(request.url))

    def check(self) -> None:
        """Nothing of it has happened."""
        assert not self.complaints, "\n".join(self.complaints)

    def _said(self, message: ConsoleMessage) -> None:
        words, where = OVERTAKEN
        if words in message.text and where in message.location["url"]:
            return
        if message.type in ("error", "warning") and not any(
            word in message.text for word in self._known
        ):
            self.complaints.append(f"{message.type}: {message.text} {message.location}")

    def _asked(self, url: str) -> None:
        if not url.startswith((f"{self._url}/", f"blob:{self._url}/")):
            self.complaints.append(f"asks {url}")


def check_accessible(page: Page) -> None:
    """axe-core finds no violation of WCAG 2.2 AA nor of good practice, in neither theme."""
    page.evaluate(f"() => {{ {AXE} }}")
    for theme in THEMES:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
        found = page.evaluate(
            "() => axe.run({resultTypes: ['violations']}).then(({violations}) => violations.map("
            "each => [each.id, each.help, each.nodes.map(node => node.html.slice(0, 300))]))"
        )
        assert found == [], f"in {theme}: {found}"


def check_fits(page: Page) -> None:
    """Nothing is wider than the window, nor than the dialog that it is in."""
    wide, window = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= window
    for within, room in page.evaluate(
        "() => [...document.querySelectorAll('dialog[open]')].map(each => "
        "[each.scrollWidth, each.clientWidth])"
    ):
        assert within <= room

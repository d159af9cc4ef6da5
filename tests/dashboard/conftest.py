"""One server and one browser for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.acceptance.embedded import serving
from tests.acceptance.plugins import all_plugins
from tests.dashboard.site import Dashboard
from tests.services.browser import FLAGS
from tests.services.catalogue import find_chromium
from tests.services.receiver import ALLOWED
from tests.services.switch import need
from tests.unit.streams.identity.signing import SECRET


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    need("chromium")
    # Longer than anything takes; a loaded machine is no failure.
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=find_chromium(), args=FLAGS, headless=True
        )
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def dashboard(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Dashboard]:
    folder = tmp_path_factory.mktemp("dashboard")
    variables = {
        "PYTHONPATH": all_plugins(folder / "plugins"),
        "COUNTERMAND_ACTORS": "proven",
        "COUNTERMAND_TOKEN_SECRET": SECRET,
        "COUNTERMAND_APPROVAL_ABOVE": "2500",
        "COUNTERMAND_RATE_LIMIT": "",
        **ALLOWED,
    }
    data = folder / "data"
    data.mkdir()
    with serving(data, **variables) as server:
        yield Dashboard(server, browser)


@pytest.fixture(autouse=True)
def taking_work(dashboard: Dashboard) -> None:
    """The test before may have killed the engine."""
    dashboard.server.wait_ready()

"""What every test shares: the service switch and the fixtures of the services."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests import scratch
from tests.databases import data_dir, migrated_postgres, postgres_template, sqlite_template
from tests.distribution import give_way, pytest_xdist_make_scheduler
from tests.sampled import THOROUGH
from tests.services.kafka import kafka, kafka_of_three
from tests.services.postgres import postgres_database, postgres_process, postgres_server
from tests.services.switch import need
from tests.suites import pytest_terminal_summary

__all__ = [
    "data_dir",
    "kafka",
    "kafka_of_three",
    "migrated_postgres",
    "postgres_database",
    "postgres_process",
    "postgres_server",
    "postgres_template",
    "pytest_terminal_summary",
    "pytest_xdist_make_scheduler",
    "sqlite_template",
]

# How long an example takes depends on what else runs.
settings.register_profile("patient", deadline=None)
settings.register_profile(THOROUGH, deadline=None)
settings.load_profile("patient")

YOUNG_OBJECTS = 20_000
"""Between two looks for garbage; with Python's 700 tests with an engine take a tenth longer."""

# Who asks for the fixture need not say it again with a marker.
_FIXTURES = {"postgres_process": "postgresql", "kafka": "kafka", "kafka_of_three": "kafka"}


def pytest_configure(config: pytest.Config) -> None:
    """Forget what is set for this process and should not hold for those that tests start."""
    # How wide the terminal is: whoever runs tests in several processes says so.
    os.environ.pop("COLUMNS", None)
    scratch.move_to_memory()
    give_way(config)
    # Each of some hundred processes would compile all of the checkout again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among what is collected, neither now nor ever: all of it stays.

    It is some millions of objects, and going through them took a quarter of the tests' time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
        # As processes of ours do (api/serve.py).
        gc.set_threshold(YOUNG_OBJECTS, 20, 50)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that reach a service through its fixture, before -m picks among them."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        for fixture, service in _FIXTURES.items():
            if fixture in names:
                item.add_marker(pytest.mark.service(service))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Ask for the marked services before any fixture is set up."""
    for name in sorted({name for mark in item.iter_markers("service") for name in mark.args}):
        need(name)

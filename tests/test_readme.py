"""README and docs/api.md, run as they stand: what a newcomer copies must work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import environment
from tests.acceptance.embedded import Server, serving
from tests.acceptance.plugins import plugin

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()
PAGES = sorted(
    str(page.relative_to(ROOT)) for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
)
WRITTEN_BY_MAKE = {"docs/benchmark.md"}
ADDRESS = "http://127.0.0.1:8080"


def snippets(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


SHELL = [snippet for snippet in snippets(README, "sh") if "make demo" not in snippet]
SHOP, _ = snippets(README, "python")
(PACKAGE,) = snippets(README, "toml")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the README's plug-in, where its quick start expects the data: ./data."""
    home = tmp_path_factory.mktemp("newcomer")
    ((name, value),) = tomllib.loads(PACKAGE)["project"]["entry-points"][
        "countermand.operations"
    ].items()
    assert value == f"{name}:operations"
    (home / "data").mkdir()
    with serving(home / "data", PYTHONPATH=plugin(home / "site", name, SHOP)) as running:
        yield running


def run(server: Server, script: str) -> str:
    """What a script prints, in one shell, against this server instead of the usual address."""
    home = server.data_dir.parent
    commands = home / ".venv" / "bin"
    commands.mkdir(parents=True, exist_ok=True)
    shim = commands / "countermand"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m streams.cli.main "$@"\n')
    shim.chmod(0o755)
    ended = subprocess.run(
        ["bash", "-u", "-c", script.replace(ADDRESS, server.url)],
        cwd=home,
        env=environment(COUNTERMAND_URL=server.url, PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    for wrong in ("Traceback", "countermand: ", "command not found", "unbound", "problem:"):
        assert wrong not in ended.stdout + ended.stderr, ended.stdout + ended.stderr
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def api(server: Server, path: str) -> Any:
    with urllib.request.urlopen(server.url + path) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_the_quick_start(server: Server) -> None:
    serve, by_hand, by_curl, stream, shop = SHELL
    assert "countermand serve --data-dir ./data" in serve

    said = run(server, "\n".join([by_hand, by_curl, stream.replace("1000000", "2000"), shop]))

    jobs = api(server, "/api/v1/jobs?limit=50&sort=created_at")["items"]
    annotated = next(job for job in jobs if job["operation"] == "annotations.create")
    for news in (
        "annotations.create completed_with_errors 100.0 % | 1 succeeded, 1 failed",
        "label_not_found",
        "annotations.create completed 100.0 % | 2 succeeded",
        "annotations.create rolled_back 100.0 % | 2 rolled_back",
        "job.undo_started",
        "HTTP/1.1 202 Accepted",
        "\nevent: job.finished\nid: ",
        '"total":2000',
        "shop.reprice completed 100.0 % | 1 succeeded",
    ):
        assert news in said
    assert annotated["status"] in ("rolling_back", "rolled_back"), "curl undid it again"


def test_a_job_in_parts(server: Server) -> None:
    opened, *others = snippets(API, "sh")[0].split("\ncurl ")
    again, follow = snippets(API, "sh")[2:4]
    draft = json.loads(run(server, opened))["job_id"]

    parts = run(server, f"draft={draft}\n" + "".join(f"curl {other}\n" for other in others))
    seen = run(server, f"draft={draft}\n{follow}")

    # Whether they fail depends on the tests before; those that went well will do as well.
    taken = run(server, f"job={draft}\n" + again.replace("status=failed&", ""))

    assert '"part":0' in parts
    assert '"total":2' in taken
    assert "id: 4\n" in seen
    assert "id: 3\n" not in seen
    assert api(server, f"/api/v1/jobs/{draft}")["counts"]["total"] == 2


def test_a_rule_of_retention(server: Server) -> None:
    (said,) = snippets(API, "sh")[5:]
    rule = json.loads(run(server, said))
    assert (rule["kind"], rule["shred_after"]) == ("annotations.*", 90 * 86400)
    assert api(server, "/api/v1/retention")["items"] == [rule]


def test_pages_of_all_jobs(server: Server) -> None:
    opened = snippets(API, "sh")[0].split("\ncurl ")[0]
    run(server, opened)
    page = json.loads(run(server, snippets(API, "sh")[4].replace("tag=gazetteer&", "")))
    assert page["position"] >= page["items"][-1]["position"] > 0


def test_a_batch(server: Server) -> None:
    batch = json.loads(run(server, snippets(API, "sh")[1]))
    follow = f"curl -sN {ADDRESS}/api/v1/jobs/{batch['job_id']}/events"
    assert "event: job.children_moved" in run(server, follow)
    ended = api(server, f"/api/v1/jobs/{batch['job_id']}")
    # Whether there is a project 1 depends on the tests before.
    assert ended["status"] in ("completed", "failed")
    assert [step["name"] for step in ended["steps"]] == ["labels", "more", "drop"]
    assert ended["counts"]["total"] >= 2


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)

    missing = {link for link in links if not ((ROOT / page).parent / link).exists()}

    assert missing <= WRITTEN_BY_MAKE


@pytest.mark.parametrize("page", PAGES)
def test_links_to_a_heading_lead_to_one(page: str) -> None:
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", text)

    missing = {
        f"{target}#{anchor}"
        for target, anchor in links
        if anchor not in _anchors((ROOT / page).parent / target if target else ROOT / page)
    }

    assert not missing


@cache
def _anchors(page: Path) -> frozenset[str]:
    """What the headings of a page are called in links to them, as GitHub makes it."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(), re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", heading.strip().lower()) for heading in headings]
    return frozenset(each.replace(" ", "-") for each in words)

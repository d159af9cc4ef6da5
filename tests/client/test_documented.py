"""docs/client.md and the README's example, run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.commands import environment
from tests.acceptance.embedded import Server, serving
from tests.unit.streams.identity.signing import SECRET, token

ROOT = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:8080"


def _python(page: str) -> list[str]:
    text = (ROOT / page).read_text()
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


PLAIN, WITH_ASYNCIO, MORE, OF_KEYS, ERRORS = _python("docs/client.md")
SHORT = _python("README.md")[1]


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (PLAIN, ["completed 10000 0", "job.finished completed 100.0", "\nrolled_back\n"]),
        (WITH_ASYNCIO, ["job.finished completed", "[{'id': "]),
        (
            MORE,
            ["completed ['labels', 'texts']", "1 would change; still so: True", "completion co"],
        ),
        (ERRORS, ["422 unknown_operation /operation", "registered: annotations.create, "]),
        (SHORT, ["completed 2"]),
    ],
    ids=["plain", "asyncio", "more", "errors", "readme"],
)
def test_an_example_runs(server: Server, tmp_path: Path, example: str, said: list[str]) -> None:
    _runs(server, tmp_path, example, said)


def test_the_example_of_keys_runs(tmp_path: Path) -> None:
    """Where the server asks who calls."""
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "data").mkdir()
    variables = {
        "COUNTERMAND_ACTORS": "proven",
        "COUNTERMAND_TOKEN_SECRET_FILE": str(tmp_path / "secret"),
    }
    shown = token(sub="ada", tenant="acme", roles=["admin"])
    with serving(tmp_path / "data", **variables) as server:
        _runs(server, tmp_path, OF_KEYS, ["[]\n[('importer', True)]"], COUNTERMAND_TOKEN=shown)


def _runs(server: Server, folder: Path, example: str, said: list[str], **variables: str) -> None:
    assert ADDRESS in example
    ended = subprocess.run(
        [sys.executable, "-c", example.replace(ADDRESS, server.url)],
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT), **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    for words in said:
        assert words in ended.stdout, ended.stdout

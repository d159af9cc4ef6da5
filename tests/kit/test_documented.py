"""docs/testing.md and docs/operations.md, run as they stand: what an author copies must work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from countermand_testing import Case, Given, checks, checks_for

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def _python(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_examples_pass(tmp_path: Path) -> None:
    (shop,) = _python((ROOT / "README.md").read_text())[:1]
    (tmp_path / "shop.py").write_text(shop)
    (tmp_path / "test_shop.py").write_text("\n\n".join(_python(PAGE)))

    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "12 passed" in ended.stdout, ended.stdout


def test_every_check_is_told_of() -> None:
    told = set(re.findall(r"^\| `(\w+)` \| ", PAGE, re.MULTILINE))
    ours = {name.removeprefix("check_") for name in vars(checks) if name.startswith("check_")}
    assert told == ours


def test_the_example_of_an_inverse_keeps_the_contract() -> None:
    shop = _module("shop", _example("Undo by an inverse"))
    opened = [{"amount": 10} for _ in range(3)]
    case = Case(
        kind="shop.book",
        operations=shop.operations,
        given=[Given("shop.create_accounts", opened)],
        items=[{"id": n % 3 + 1, "amount": n} for n in range(1, 7)],
        failing=[{"id": 9, "amount": 1}],
    )

    assert case.operation.restores_records is False
    for check in checks_for(case):
        check(case)


def test_the_example_of_a_compensation_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    post = _Post()
    monkeypatch.setitem(sys.modules, "mails", post)
    shop = _module("shop", _example("Effects outside of the database"))
    case = Case(
        kind="shop.mail",
        operations=shop.operations,
        items=[{"to": name} for name in ("Ada", "Bo", "Cy", "Di", "Ed", "Flo")],
        observe=post.arrived,
        reset=post.empty,
    )

    for check in checks_for(case):
        check(case)
    assert post.calls_back, "or no undo was looked at"


class _Post(ModuleType):
    """A mail server that knows what it was asked for by its key."""

    def __init__(self) -> None:
        super().__init__("mails")
        self.sent: dict[str, str] = {}
        self.recalled: set[str] = set()
        self.calls_back = 0

    async def send(self, to: str, *, key: str) -> str:
        self.sent[key] = to
        return key

    async def recall(self, message_id: str, *, key: str) -> SimpleNamespace:
        assert key != message_id
        self.recalled.add(message_id)
        self.calls_back += 1
        return SimpleNamespace(status=200)

    def arrived(self) -> list[str]:
        return sorted(to for key, to in self.sent.items() if key not in self.recalled)

    def empty(self) -> None:
        self.sent.clear()
        self.recalled.clear()


def _example(section: str) -> str:
    (example,) = _python(OPERATIONS.partition(f"\n## {section}\n")[2].partition("\n## ")[0])
    return example


def _module(name: str, text: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(text, name, "exec"), vars(module))
    return module

"""docs/testing.md, run as it stands: what an author copies must work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from countermand_testing import checks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text()


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

"""The layer contracts hold, and no modules of ours import one another in a circle."""

from __future__ import annotations

import graphlib
import sys
from pathlib import Path

import grimp
import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

_CHECKOUT = Path(__file__).parents[1]
_PACKAGES = ("api", "countermand_client", "countermand_testing", "domain", "streams")


def _cycle(*packages: str) -> list[str]:
    """Modules that import one another in a circle, the first one repeated at the end.

    Counts each import wherever it stands: for the type checker only, or inside a function.
    """
    graph = grimp.build_graph(*packages, exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def test_the_contracts_hold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(_CHECKOUT)
    status = lint_imports(config_filename="pyproject.toml", no_cache=True, is_debug_mode=False)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_no_import_goes_round_in_a_circle() -> None:
    assert _cycle(*_PACKAGES) == []


@pytest.mark.parametrize(
    "back",
    [
        "from roundabout import one\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from roundabout.one import ONE\n",
        "def late():\n    from roundabout.one import ONE\n    return ONE\n",
    ],
)
def test_a_circle_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, back: str) -> None:
    package = tmp_path / "roundabout"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "one.py").write_text("from roundabout.two import TWO\nONE = TWO\n")
    (package / "two.py").write_text(f"TWO = 2\n{back}")
    monkeypatch.syspath_prepend(tmp_path)

    assert set(_cycle("roundabout")) == {"roundabout.one", "roundabout.two"}
    assert "roundabout" not in sys.modules, "grimp reads the files and runs none"

"""A file has its name once it is whole, whoever else writes one of that name meanwhile."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from domain.errors import InvalidCommand
from streams.cli.output import whole_file


def test_two_that_write_one_name_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "failed.csv"
    with whole_file(path) as slow:
        slow.write(b"slow\n")
        with whole_file(path) as quick:
            quick.write(b"quick\n")
        assert path.read_bytes() == b"quick\n"
        slow.write(b"slow\n")
        slow.flush()
        assert path.read_bytes() == b"quick\n"

    assert path.read_bytes() == b"slow\nslow\n"
    assert [left.name for left in tmp_path.iterdir()] == ["failed.csv"]


def test_one_that_ends_first_does_not_break_the_other(tmp_path: Path) -> None:
    path = tmp_path / "failed.csv"
    first, second = whole_file(path), whole_file(path)
    ones, others = first.__enter__(), second.__enter__()
    ones.write(b"first\n")
    others.write(b"second\n")

    first.__exit__(None, None, None)
    assert path.read_bytes() == b"first\n"
    second.__exit__(None, None, None)

    assert path.read_bytes() == b"second\n"


def test_what_is_called_so_beside_it_is_left_alone(tmp_path: Path) -> None:
    beside = tmp_path / "failed.csv.part"
    beside.write_bytes(b"mine")

    with whole_file(tmp_path / "failed.csv") as file:
        file.write(b"a\n")

    assert beside.read_bytes() == b"mine"


def test_what_is_broken_off_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "failed.csv"
    path.write_bytes(b"old")

    with suppress(ZeroDivisionError), whole_file(path) as file:
        file.write(b"new")
        raise ZeroDivisionError

    assert path.read_bytes() == b"old"
    assert [left.name for left in tmp_path.iterdir()] == ["failed.csv"]


def test_a_pipe_is_written_and_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    found: list[bytes] = []
    # A reader that nobody writes to any more must not hold up the end of the tests.
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()), daemon=True)
    reader.start()

    with whole_file(path) as file:
        file.write(b"through it\n")
    assert stat.S_ISFIFO(path.stat().st_mode)
    reader.join(10)

    assert found == [b"through it\n"]


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "real.csv", tmp_path / "link.csv"
    target.write_bytes(b"old")
    link.symlink_to(target)

    with whole_file(link) as file:
        file.write(b"new")

    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert [left.name for left in target.parent.iterdir()] == ["real.csv"]


@pytest.mark.parametrize("name", ["no/where", "file/below", "."])
def test_what_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"")

    with pytest.raises(InvalidCommand, match="cannot write"), whole_file(Path(name)) as file:
        file.write(b"x")

    assert [left.name for left in tmp_path.iterdir()] == ["file"]

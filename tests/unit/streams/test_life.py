"""A life of a data directory tells the next one its name, and no copy of the directory."""

from __future__ import annotations

import shutil
from pathlib import Path

from streams.life import FILE_NAME, begin_life, last_life


def test_the_next_one_is_told_the_name_of_the_last(tmp_path: Path) -> None:
    assert last_life(tmp_path) == ""
    for name in ("host-1", "another host-2"):
        begin_life(tmp_path, name)
        assert last_life(tmp_path) == name


def test_a_volume_that_is_mounted_elsewhere_is_the_same_directory(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    begin_life(here, "host-1")
    here.rename(elsewhere)
    assert last_life(elsewhere) == "host-1"


def test_a_copy_is_no_next_life(tmp_path: Path) -> None:
    one, copy = tmp_path / "one", tmp_path / "copy"
    one.mkdir()
    begin_life(one, "host-1")
    shutil.copytree(one, copy)
    assert last_life(copy) == ""


def test_a_file_that_was_cut_tells_nothing(tmp_path: Path) -> None:
    for content in (b"", b"7", b"\xff\x00 host-1\n"):
        (tmp_path / FILE_NAME).write_bytes(content)
        assert last_life(tmp_path) == ""


def test_what_cannot_be_written_keeps_nobody_from_its_start(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    begin_life(tmp_path, "host-1")
    assert last_life(tmp_path) == ""

"""Archives from outside: refused with the reason, never followed, in bounded memory and time."""

from __future__ import annotations

import io
import random
import stat
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from domain.systems.annotations.formats.archives import (
    Archive,
    ArchiveWriter,
    MemberDamaged,
    names_at_start,
)
from domain.systems.annotations.formats.contract import Bounds, FileRefused

BOUNDS = Bounds()


def packed(*members: tuple[str | zipfile.ZipInfo, bytes]) -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    stream.seek(0)
    return stream


def named(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    """A member under exactly this name: the library would change some of them."""
    info = zipfile.ZipInfo("x")
    info.filename = info.orig_filename = name
    info.external_attr = mode << 16
    info.create_system = 3
    return info


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "labels/../../evil.txt",
        "..\\evil.txt",
        "/etc/cron.d/evil",
        "\\\\server\\share",
        "C:\\evil.txt",
        "c:evil.txt",
        "a\r\nb.txt",
        "/",
    ],
)
def test_a_name_that_leads_out_of_the_archive_or_cannot_be_read_is_refused(name: str) -> None:
    with pytest.raises(FileRefused, match="member named"):
        Archive(packed((named(name), b"x")), BOUNDS)


def test_a_name_with_a_nul_is_refused_and_not_cut_at_it() -> None:
    stream = packed(("a.txt#.sh", b"x"))
    content = stream.getvalue().replace(b"a.txt#.sh", b"a.txt\0.sh")

    with pytest.raises(FileRefused, match="readable name"):
        Archive(io.BytesIO(content), BOUNDS)


def test_a_name_of_4096_characters_is_refused() -> None:
    with pytest.raises(FileRefused, match="longer than 1024"):
        Archive(packed(("n" * 4096, b"x")), BOUNDS)


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_a_device_is_refused(mode: int) -> None:
    with pytest.raises(FileRefused, match="pack the file itself"):
        Archive(packed((named("labels/a.txt", mode | 0o777), b"/etc/passwd")), BOUNDS)


@pytest.mark.parametrize("name", ["inner.zip", "deep/inner.TAR.GZ", "x.7z"])
def test_an_archive_in_an_archive_is_refused(name: str) -> None:
    with pytest.raises(FileRefused, match="unpack it first"):
        Archive(packed((name, packed(("a", b"x")).getvalue())), BOUNDS)


def test_a_ratio_of_1000_to_1_is_refused_before_anything_is_unpacked() -> None:
    stream = packed(("labels/a.txt", bytes(20_000_000)))
    assert len(stream.getvalue()) < 21_000

    with pytest.raises(FileRefused, match="more than 200 times"):
        Archive(stream, BOUNDS)


def test_members_that_unpack_to_too_much_together_are_refused() -> None:
    members = [(f"{n}.txt", b"%d" % n * 500) for n in range(100)]

    with pytest.raises(FileRefused, match="more than 20000 bytes"):
        Archive(packed(*members), replace(BOUNDS, unpacked=20_000))


def test_what_is_read_again_and_again_counts_each_time() -> None:
    archive = Archive(packed(("a.txt", b"x" * 600)), replace(BOUNDS, unpacked=1_000))
    assert archive.read("a.txt", 600) == b"x" * 600

    with pytest.raises(FileRefused, match="gives more than 1000 bytes"):
        archive.read("a.txt", 600)


def test_60000_members_are_refused_before_the_list_is_loaded() -> None:
    one = packed(("a.txt", b"")).getvalue()
    start, end = one.rindex(b"PK\x01\x02"), one.rindex(b"PK\x05\x06")
    honest = bytearray(one[:start] + one[start:end] * 60_000 + one[end:])
    honest[-22 + 8 : -22 + 16] = struct.pack("<HHL", 60_000, 60_000, 60_000 * (end - start))
    # The count at the end says one; the list itself is what counts.
    lying = bytearray(honest)
    lying[-22 + 8 : -22 + 12] = struct.pack("<HH", 1, 1)

    for content in (honest, lying):
        opened = io.BytesIO(bytes(content))
        tracemalloc.start()
        started = time.thread_time()
        with pytest.raises(FileRefused, match="more than 50000 members"):
            Archive(opened, BOUNDS)
        took = time.thread_time() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 5_000_000
        assert took < 1


def _lie(field: int, stated: int) -> Callable[[bytes], bytes]:
    """Change a size in the list of members: the packed one is at 20, the unpacked one at 24."""

    def changed(content: bytes) -> bytes:
        listing = content.rindex(b"PK\x01\x02")
        at = listing + field
        return content[:at] + struct.pack("<L", stated) + content[at + 4 :]

    return changed


@pytest.mark.parametrize("stated", [1, 4_999, 5_001, 60_000])
def test_a_member_of_another_size_than_it_states_is_refused(stated: int) -> None:
    content = _lie(24, stated)(packed(("a.txt", b"0 0.5 0.5 0.1 0.1\n" * 278)).getvalue())
    archive = Archive(io.BytesIO(content), BOUNDS)

    with pytest.raises(MemberDamaged, match=r"split|states|damaged"):
        archive.read("a.txt", 100_000)


def test_a_bomb_that_states_a_small_size_gives_no_more_than_that() -> None:
    bomb = _lie(24, 1_000)(packed(("a.txt", bytes(10_000_000))).getvalue())
    archive = Archive(io.BytesIO(bomb), BOUNDS)

    tracemalloc.start()
    with pytest.raises(MemberDamaged):
        archive.read("a.txt", 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_packed_size_beyond_the_end_of_the_file_is_refused() -> None:
    content = _lie(20, 1_000_000)(packed(("a.txt", b"x")).getvalue())

    with pytest.raises(FileRefused, match="cut off"):
        Archive(io.BytesIO(content), BOUNDS)


def test_members_over_one_another_are_refused() -> None:
    content = bytearray(packed(("a.txt", b"x" * 50), ("b.txt", b"y" * 50)).getvalue())
    second = content.rindex(b"PK\x01\x02")
    content[second + 42 : second + 46] = struct.pack("<L", 3)

    with pytest.raises(FileRefused, match="lies over another"):
        Archive(io.BytesIO(bytes(content)), BOUNDS)


def test_two_members_of_one_name_are_refused() -> None:
    content = packed(("a/x.txt", b"1"), ("a/y.txt", b"2")).getvalue()

    with pytest.raises(FileRefused, match="two members named"):
        Archive(io.BytesIO(content.replace(b"a/y.txt", b"a/x.txt")), BOUNDS)


def test_an_encrypted_member_is_refused() -> None:
    content = bytearray(packed(("a.txt", b"x")).getvalue())
    listing = content.rindex(b"PK\x01\x02")
    content[listing + 8] |= 1

    with pytest.raises(FileRefused, match="password"):
        Archive(io.BytesIO(bytes(content)), BOUNDS)


def test_a_packing_whose_ratio_has_no_bound_is_refused() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.txt", b"x" * 100)

    with pytest.raises(FileRefused, match="use deflate"):
        Archive(stream, BOUNDS)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"PK\x03\x04" + bytes(40), b"no archive at all " * 50, b"PK\x05\x06" + bytes(3)],
)
def test_what_is_no_archive_is_refused(content: bytes) -> None:
    with pytest.raises(FileRefused, match=r"no ZIP file|damaged"):
        Archive(io.BytesIO(content), BOUNDS)


def test_an_archive_that_was_cut_off_anywhere_is_refused() -> None:
    whole = packed(("a.txt", b"some words" * 5), ("b.txt", b"others" * 7)).getvalue()

    for length in range(len(whole)):
        with pytest.raises(FileRefused):
            Archive(io.BytesIO(whole[:length]), BOUNDS).read("a.txt", 1_000)


def test_a_damaged_member_leaves_the_others_readable() -> None:
    content = packed(("a.txt", b"words of the first" * 20), ("b.txt", b"second")).getvalue()
    at = content.index(b"a.txt") + 8
    archive = Archive(io.BytesIO(content[:at] + b"\xff\xff" + content[at + 2 :]), BOUNDS)

    with pytest.raises(MemberDamaged):
        archive.read("a.txt", 1_000)
    assert archive.read("b.txt", 1_000) == b"second"


def test_a_member_that_is_named_otherwise_where_it_lies_leaves_the_others_readable() -> None:
    content = bytearray(packed(("a.txt", b"first"), ("b.txt", b"second")).getvalue())
    content[6:8] = (0x800).to_bytes(2, "little")  # The name is UTF-8, and
    content[30] = 0xFF  # it is not.
    archive = Archive(io.BytesIO(bytes(content)), BOUNDS)

    with pytest.raises(MemberDamaged, match=r"a\.txt.*pack it again"):
        archive.read("a.txt", 1_000)
    assert archive.read("b.txt", 1_000) == b"second"


def test_folders_and_windows_names_are_understood() -> None:
    archive = Archive(packed(("labels/", b""), (named("labels\\a.txt"), b"x")), BOUNDS)

    assert archive.names == ["labels/a.txt"]
    assert archive.read("labels/a.txt", 1) == b"x"
    assert archive.head("labels/a.txt", 50) == b"x"
    with pytest.raises(MemberDamaged, match="0 are read at most"):
        archive.read("labels/a.txt", 0)


def test_what_is_written_is_a_stream_that_others_read() -> None:
    writer = ArchiveWriter()
    large = [random.Random(n).randbytes(8_000) for n in range(300)]
    pieces = list(writer.add("a.txt", b"first"))
    for piece in writer.add_pieces("b.bin", large):
        assert len(piece) < 300_000
        pieces.append(piece)
    assert "a.txt" in writer
    assert "c.txt" not in writer
    pieces += writer.close()

    content = b"".join(pieces)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.txt", "b.bin"]
        assert archive.read("b.bin") == b"".join(large)
    ours = Archive(io.BytesIO(content), BOUNDS)
    assert ours.read("a.txt", 100) == b"first"
    assert names_at_start(content[:200])[0] == "a.txt"


def test_an_archive_without_members_has_none() -> None:
    content = b"".join(ArchiveWriter().close())

    assert Archive(io.BytesIO(content), BOUNDS).names == []


NOISE = random.Random(7).randbytes(128 * 1024)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"-" * 100_000],
        [b"-" * 20_000] * 60,
        [NOISE, *[b"-" * 1_000_000] * 50],
        [b"-" * 3_000_000, NOISE],
        [b"-" * (128 * 1024 + 1)],
        [b"0 0.5 0.5 0.1 0.1\n" * 200_000],
        [b"word"],
        [],
    ],
    ids=range(8),
)
def test_what_packs_too_well_anywhere_is_read_by_us_and_by_who_reads_a_stream(
    pieces: list[bytes],
) -> None:
    content = archive_of(pieces)

    whole = b"".join(pieces)
    assert Archive(io.BytesIO(content), BOUNDS).read("a.txt", len(whole)) == whole
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert opened.testzip() is None
    assert content[8:10] == zipfile.ZIP_DEFLATED.to_bytes(2, "little")
    stream = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    assert stream.decompress(content[30 + len("a.txt") :]) == whole
    assert stream.eof


def test_what_packs_too_well_at_first_is_packed_behind_that() -> None:
    words = b"".join(b"%d words of a sheet," % number for number in range(100_000))
    assert len(archive_of([b"-" * 140_000, words])) < len(words) / 2


def archive_of(pieces: Iterable[bytes]) -> bytes:
    writer = ArchiveWriter()
    return b"".join([*writer.add_pieces("a.txt", pieces), *writer.close()])

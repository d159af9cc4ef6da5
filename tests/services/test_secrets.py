"""`make secrets` finds what is planted, wherever in a work tree, and shows only the place."""

from __future__ import annotations

import random
import string
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

TOOL = Path(__file__).parents[2] / "tools" / "secrets"
_random = random.Random(6)


def _key() -> str:
    key = generate_private_key(SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _letters(count: int) -> str:
    return "".join(_random.choices(string.ascii_letters + string.digits, k=count))


def _digits(count: int) -> str:
    return "".join(_random.choices(string.digits, k=count))


PLANTED = {
    "deep/down/notes.txt": _key(),
    # Put together here, or this file would be found.
    "settings.yaml": f"token: {'ghp'}_{_letters(36)}\n",
    "hook.py": f'HOOK = "{"xoxb"}-{_digits(12)}-{_digits(12)}-{_letters(24)}"\n',
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree with a file that holds no secret."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "plain.py").write_text('DATABASE = "postgresql://me@localhost/name"\n')
    return tmp_path


def _look(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, TOOL, tree]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_is_planted_is_found_and_not_shown(tree: Path) -> None:
    for name, content in PLANTED.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)

    ended = _look(tree)

    assert ended.returncode == 1
    assert {line.partition(":")[0] for line in ended.stdout.splitlines()} == PLANTED.keys()
    for content in PLANTED.values():
        assert not any(word in ended.stdout + ended.stderr for word in content.split()[2:])


def test_what_is_ignored_is_not_looked_at(tree: Path) -> None:
    (tree / ".gitignore").write_text("mine/\n")
    (tree / "mine").mkdir()
    (tree / "mine" / "key.pem").write_text(_key())

    ended = _look(tree)

    assert (ended.returncode, ended.stdout) == (0, "no secret in 2 files, by 488 rules\n")


def test_a_tree_of_nothing_has_not_passed(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)

    assert _look(tmp_path).returncode == 1

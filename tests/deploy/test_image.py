"""The Dockerfile, as far as it can be looked at where no container can be built."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from dockerfile_parse import DockerfileParser

from streams.settings import Settings
from tests.acceptance.commands import asked

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SENT = [
    line.removeprefix("!")
    for line in (ROOT / ".dockerignore").read_text().splitlines()
    if line.startswith("!")
]


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """The instructions of each stage; read from a copy, since the parser may write."""
    copy = tmp_path_factory.mktemp("image") / "Dockerfile"
    shutil.copy(ROOT / "Dockerfile", copy)
    found: list[list[dict[str, Any]]] = []
    for instruction in DockerfileParser(str(copy)).structure:
        if instruction["instruction"] == "FROM":
            found.append([])
        if instruction["instruction"] != "COMMENT":
            found[-1].append(instruction)
    return found


def values(stage: list[dict[str, Any]], name: str) -> list[str]:
    return [step["value"] for step in stage if step["instruction"] == name]


def test_the_linter_has_nothing_to_say() -> None:
    linter = Path(sys.executable).with_name("hadolint")

    ran = subprocess.run(
        [linter, "--failure-threshold=style", ROOT / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ran.returncode, ran.stdout) == (0, "")


def test_both_stages_are_of_a_python_that_the_project_runs_on(stages: Any) -> None:
    bases = {values(stage, "FROM")[0].split()[0] for stage in stages}

    (base,) = bases
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert base.startswith(f"python:{oldest}-slim")


def test_what_is_copied_is_there_and_sent_to_the_build(stages: Any) -> None:
    build, final = stages
    copied = [source for line in values(build, "COPY") for source in shlex.split(line)[:-1]]

    assert copied
    assert set(copied) == set(SENT)
    assert all((ROOT / source).exists() for source in copied)
    assert values(final, "COPY") == ["--from=build /opt/countermand /opt/countermand"]


def test_nothing_else_is_sent_to_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]

    assert patterns[0] == "*"
    assert set(patterns[1:]) == {*(f"!{path}" for path in SENT), "**/__pycache__", "**/*.pyc"}


def test_all_that_comes_from_elsewhere_is_pinned_by_hash(stages: Any) -> None:
    build, final = stages
    installed = re.findall(r"pip (?:install|wheel) [^&]+", " && ".join(values(build, "RUN")))

    assert len(installed) == 4
    for command in installed:
        assert "--require-hashes" in command or "--no-deps" in command
    assert not any("pip" in line or "apt" in line for line in values(final, "RUN"))
    for name in ("runtime", "build"):
        locked = (ROOT / "requirements" / f"{name}.txt").read_text()
        assert locked.count("==") <= locked.count("--hash=sha256:")
    assert "psycopg-binary==" in (ROOT / "requirements" / "runtime.txt").read_text()


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    context = tmp_path / "context"
    for source in SENT:
        place, origin = context / source, ROOT / source
        if origin.is_dir():
            shutil.copytree(origin, place, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, place)
    packages = ("domain", "streams", "api", "countermand_client")
    expected = {
        str(file.relative_to(context))
        for package in packages
        for file in (context / package).rglob("*")
        if file.is_file()
    }

    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(context)),
        ],
        check=True,
    )

    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == expected


def test_it_runs_as_nobody_who_owns_anything_but_its_data(stages: Any) -> None:
    _, final = stages
    (user,) = values(final, "USER")
    uid, gid = user.split(":")

    assert int(uid) > 999
    assert int(gid) > 999
    assert values(final, "VOLUME") == ['["/data"]']
    assert f"--owner={uid} --group={gid} --mode=0700 /data" in values(final, "RUN")[0]


def test_its_variables_are_settings(stages: Any) -> None:
    _, final = stages
    set_there = re.findall(r"COUNTERMAND_(\w+)=", " ".join(values(final, "ENV")))

    assert set_there == ["DATA_DIR"]
    assert {name.lower() for name in set_there} <= Settings.model_fields.keys()


def test_its_label_is_this_release(stages: Any) -> None:
    _, final = stages

    assert f'image.version="{PROJECT["project"]["version"]}"' in values(final, "LABEL")[0]


def test_what_it_starts_is_a_command_of_ours(stages: Any) -> None:
    _, final = stages
    (program,) = json.loads(values(final, "ENTRYPOINT")[0])
    arguments = json.loads(values(final, "CMD")[0])

    assert program in PROJECT["project"]["scripts"]
    assert asked(*arguments, "--help").returncode == 0


def test_its_health_is_asked_for_by_a_command_of_ours(stages: Any) -> None:
    _, final = stages
    (check,) = values(final, "HEALTHCHECK")
    program, *arguments = json.loads(check.partition("CMD ")[2])

    ended = asked(*arguments, COUNTERMAND_URL="http://127.0.0.1:1")

    assert program in PROJECT["project"]["scripts"]
    assert (ended.returncode, ended.stdout) == (3, "")

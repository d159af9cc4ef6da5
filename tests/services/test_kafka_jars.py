"""The jars of Kafka are found, or fetched, or said to be missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services import kafka_classes, kafka_jars
from tests.services.catalogue import SERVICES
from tests.services.kafka_jars import (
    FOLDER_VARIABLE,
    KafkaNotFetched,
    fetch,
    find_java,
    find_kafka,
    jars_folder,
    kafka_version,
)


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH of one empty folder, and a folder of jars that is not there."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "jars"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def put_program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def put_java(folder: Path, version: str) -> None:
    put_program(folder, "java", f"echo 'openjdk version \"{version}\" 2025-04-15' >&2")


def put_jars() -> None:
    jars_folder().mkdir()
    (jars_folder() / "kafka_2.13-4.0.0.jar").touch()


def test_the_jars_are_kept_in_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert jars_folder() == tmp_path / "countermand" / f"kafka-{kafka_version()}"


def test_jars_and_java_are_enough(programs: Path) -> None:
    put_java(programs, "17.0.1")
    put_jars()
    assert find_kafka() == jars_folder()
    assert fetch() == jars_folder(), "there is no Maven, and it is not asked for"


def test_classes_are_taken_from_the_file_that_has_them(programs: Path) -> None:
    put_jars()
    assert kafka_classes.options() == ()
    kafka_classes.archive().touch()
    assert kafka_classes.options() == (f"-XX:SharedArchiveFile={jars_folder()}/classes.jsa",)


def test_maven_and_java_are_enough(programs: Path) -> None:
    put_java(programs, "21")
    put_program(programs, "mvn", "exit 1")
    assert find_kafka() == jars_folder()


def test_java_alone_is_not_enough(programs: Path) -> None:
    put_java(programs, "17.0.1")
    assert find_kafka() is None
    with pytest.raises(KafkaNotFetched, match="apt-get install maven"):
        fetch()


@pytest.mark.parametrize("version", ["11.0.2", "1.8.0_402"])
def test_an_old_java_is_none(programs: Path, version: str) -> None:
    put_java(programs, version)
    put_jars()
    assert find_kafka() is None
    missing = SERVICES["kafka"].missing
    assert missing is not None
    assert "Java 17 or newer" in missing


def test_the_java_of_java_home_goes_first(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_java(programs, "11")
    put_java(tmp_path / "jdk" / "bin", "17.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert find_java() == tmp_path / "jdk" / "bin" / "java"


def test_what_maven_said_is_told_and_nothing_is_left(programs: Path, tmp_path: Path) -> None:
    put_program(programs, "mvn", "echo no route to anywhere; exit 1")
    with pytest.raises(KafkaNotFetched, match="no route to anywhere"):
        fetch()
    assert [each.name for each in tmp_path.iterdir()] == ["bin"]


def test_the_folder_appears_with_all_that_maven_brought(programs: Path) -> None:
    put_program(
        programs,
        "mvn",
        'for each; do case "$each" in -DoutputDirectory=*) out="${each#*=}"; esac; done\n'
        '/bin/mkdir -p "$out" && : >"$out/kafka_2.13-4.0.0.jar"',
    )
    assert [each.name for each in fetch().iterdir()] == ["kafka_2.13-4.0.0.jar"]


def test_a_pom_without_a_version_is_said_to_be_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pom.xml").write_text("<project/>")
    monkeypatch.setattr(kafka_jars, "_POM", tmp_path / "pom.xml")
    with pytest.raises(KafkaNotFetched, match="names no kafka version"):
        kafka_version()

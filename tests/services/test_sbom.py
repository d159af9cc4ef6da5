"""`make sbom`: each lock as a CycloneDX document, which has all that is locked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the tool writes, by lock."""
    folder = tmp_path_factory.mktemp("sbom")
    subprocess.run([sys.executable, ROOT / "tools" / "sbom", folder], check=True)
    return {file.name.partition(".")[0]: file.read_text() for file in folder.iterdir()}


def test_each_lock_has_its_document(written: dict[str, str]) -> None:
    assert written.keys() == {lock.stem for lock in LOCKS}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.stem))
def test_it_is_valid_and_has_all_that_is_locked(written: dict[str, str], lock: Path) -> None:
    text = written[lock.stem]
    document: dict[str, Any] = json.loads(text)
    pinned = set(re.findall(r"^([^\s=]+)==([^\s;]+)", lock.read_text(), re.MULTILINE))
    hashes = re.findall(r"sha256:(\w+)", lock.read_text())
    components = document["components"]

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert len(pinned) >= 3
    assert {(each["name"], each["version"]) for each in components} == pinned
    assert all(each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}" for each in components)
    listed = [
        digest["content"]
        for each in components
        for reference in each["externalReferences"]
        for digest in reference["hashes"]
    ]
    assert sorted(listed) == sorted(hashes)


def test_a_document_of_another_shape_would_be_refused(written: dict[str, str]) -> None:
    text = written["build"].replace('"purl"', '"pearl"', 1)

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is not None


def test_it_says_who_asks_for_what(written: dict[str, str]) -> None:
    document = json.loads(written["runtime"])
    needs = {
        each["ref"].partition("@")[0]: {
            needed.partition("@")[0] for needed in each.get("dependsOn", [])
        }
        for each in document["dependencies"]
    }

    assert document["metadata"]["component"]["name"] == "countermand"
    assert {"pkg:pypi/aiohttp", "pkg:pypi/pydantic"} <= needs["countermand"]
    assert "pkg:pypi/pydantic-core" in needs["pkg:pypi/pydantic"]
    assert "pkg:pypi/pydantic-core" not in needs["countermand"]
    # Everything that is there is there for somebody.
    reached, found = set(), {"countermand"}
    while found:
        reached |= found
        found = {each for one in found for each in needs[one]} - reached
    assert reached == needs.keys()

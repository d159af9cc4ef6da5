"""docker-compose.yml, as far as it can be looked at where no container can be started."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from sqlalchemy.engine import make_url

from streams.cli.supervising import DRAIN_MARGIN
from streams.defaults import PARTITIONS
from streams.settings import Settings
from streams.stores import database
from tests.deploy.compose import ROOT, lasting, ours, read, seconds

# Of the Compose Specification (Apache-2.0), as its own loader ships it.
SCHEMA = json.loads(Path(__file__).with_name("compose-spec.json").read_text())
OWNERS = "database_password"
SECRET = "engine_password"
TOKENS = "token_secret"
KEY = "payload_key"
OWNED = "uid=10001,gid=10001,mode=0700"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return read()


def test_the_published_schema_has_nothing_to_say(document: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(document)


def test_the_schema_would_notice_a_slip(document: dict[str, Any]) -> None:
    document = {**document, "services": {"api": {"image": "x", "healthchecks": {}}}}

    with pytest.raises(jsonschema.ValidationError, match="healthchecks"):
        jsonschema.Draft202012Validator(SCHEMA).validate(document)


def test_every_kind_of_process_is_there(document: dict[str, Any]) -> None:
    counts = {
        service["command"][0]: service.get("scale", 1) for service in lasting(document).values()
    }

    assert counts == {"api": 1, "coordinator": 2, "worker": 2}


def test_the_image_is_that_of_this_release(document: dict[str, Any]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert {service["image"] for service in ours(document).values()} == {f"countermand:{version}"}


def test_whoever_is_waited_for_can_be_waited_for(document: dict[str, Any]) -> None:
    services = document["services"]
    waited = [
        (name, awaited, how["condition"])
        for name, service in services.items()
        for awaited, how in service.get("depends_on", {}).items()
    ]

    assert {name for name, _, _ in waited} == ours(document).keys()
    for _, awaited, condition in waited:
        if condition == "service_healthy":
            assert services[awaited]["healthcheck"]["test"]
        else:
            assert condition == "service_completed_successfully"
            assert services[awaited]["restart"].startswith("on-failure:")


def test_nobody_elsewhere_reaches_a_port(document: dict[str, Any]) -> None:
    published = {name: s["ports"] for name, s in document["services"].items() if "ports" in s}

    assert published == {"api": ["127.0.0.1:8080:8080"]}
    out = {name for name, s in document["services"].items() if s["networks"] != ["inside"]}
    assert out == {"api", "coordinator"}, "webhooks go out from coordinators"
    assert document["networks"]["inside"] == {"internal": True}


def test_none_may_do_more_than_it_needs(document: dict[str, Any]) -> None:
    for service in document["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.get("privileged")
    for service in ours(document).values():
        assert service["read_only"] is True
        # A coordinator's signed heads last; nothing else is kept outside of the database.
        mounted = dict(each.partition(":")[::2] for each in service["tmpfs"])
        written = [*mounted, *(each.split(":")[1] for each in service.get("volumes", []))]
        assert sorted(written) == ["/data", "/tmp"]
        # Docker gives a tmpfs the mode of what the image has there, and root for its owner.
        assert mounted.get("/data", OWNED) == OWNED
        assert "cap_add" not in service


def test_uploads_wait_on_disk(document: dict[str, Any]) -> None:
    """Some files of gigabytes are more than the memory that the process may have."""
    api = document["services"]["api"]

    assert "/tmp" not in api["tmpfs"]
    assert [volume.split(":")[1] for volume in api["volumes"]] == ["/tmp"]


def test_what_lasts_is_in_volumes_of_its_own(document: dict[str, Any]) -> None:
    mounted = [v for s in document["services"].values() for v in s.get("volumes", [])]

    assert {volume.partition(":")[0] for volume in mounted} == document["volumes"].keys()


def test_each_password_stands_in_its_file_alone(document: dict[str, Any]) -> None:
    services = document["services"]

    def readers(secret: str) -> set[str]:
        return {name for name, each in services.items() if secret in each.get("secrets", [])}

    assert readers(OWNERS) == {"postgres", "schema", "role"}
    assert readers(SECRET) == ours(document).keys() - {"schema"}
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD_FILE"] == (
        f"/run/secrets/{OWNERS}"
    )
    for service in document["services"].values():
        for name, value in service["environment"].items():
            assert "PASSWORD" not in name or name.endswith("_FILE")
            assert not re.search(r"://\w+:\S+@", str(value))
    for secret in document["secrets"].values():
        ignored = subprocess.run(
            ["git", "check-ignore", "--quiet", secret["file"]], cwd=ROOT, check=False
        )
        assert ignored.returncode == 0, "a password must not get into a commit"


def test_who_calls_the_api_must_prove_it(document: dict[str, Any]) -> None:
    services = document["services"]
    readers = [name for name, s in services.items() if TOKENS in s.get("secrets", [])]
    given = services["api"]["environment"]

    assert readers == ["api"]
    assert given["COUNTERMAND_ACTORS"] == "proven"
    assert given["COUNTERMAND_TOKEN_SECRET_FILE"] == f"/run/secrets/{TOKENS}"


def test_what_callers_send_is_sealed_by_the_same_key_everywhere(document: dict[str, Any]) -> None:
    sealing = {
        name: service["environment"]["COUNTERMAND_PAYLOAD_KEY_FILE"]
        for name, service in ours(document).items()
        if KEY in service["secrets"]
    }
    assert sealing == dict.fromkeys(["api", "coordinator", "worker"], f"/run/secrets/{KEY}")


def test_each_is_given_settings_that_it_takes(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    secret = tmp_path / "tokens"
    secret.write_text("s" * 32)
    for service in ours(document).values():
        given = dict(service["environment"])
        if "COUNTERMAND_TOKEN_SECRET_FILE" in given:
            given["COUNTERMAND_TOKEN_SECRET_FILE"] = str(secret)
        owns = service["command"][0] == "db"
        file = f"/run/secrets/{OWNERS if owns else SECRET}"
        assert given["COUNTERMAND_DATABASE_PASSWORD_FILE"] == file
        given["COUNTERMAND_DATABASE_PASSWORD_FILE"] = str(password)
        settings = Settings(
            **{name.removeprefix("COUNTERMAND_").lower(): value for name, value in given.items()}
        )

        user = "countermand" if owns else "countermand_engine"
        assert settings.database_address == f"postgresql://{user}:secret@postgres/countermand"


def test_those_that_last_sign_in_as_the_role_that_was_made_for_them(
    document: dict[str, Any],
) -> None:
    services = document["services"]
    verb, made, role, *_, file = services["role"]["command"]

    assert (verb, made, file) == ("db", "permit", f"/run/secrets/{SECRET}")
    for service in lasting(document).values():
        assert make_url(service["environment"]["COUNTERMAND_DATABASE"]).username == role
        assert "role" in service["depends_on"]


def test_each_can_be_scraped_by_who_is_beside_it_under_the_name_of_its_service(
    document: dict[str, Any],
) -> None:
    exposed = {
        name: service["environment"].get("COUNTERMAND_EXPOSED_TO")
        for name, service in ours(document).items()
        if "0.0.0.0" in service["command"] or "COUNTERMAND_EXPOSED_TO" in service["environment"]
    }

    assert exposed == {name: name for name in lasting(document)}


def test_each_has_the_time_to_end_its_work(document: dict[str, Any]) -> None:
    for service in lasting(document).values():
        longest = Settings.model_fields["drain"].default + DRAIN_MARGIN
        assert seconds(service["stop_grace_period"]) > longest


def test_each_has_the_memory_at_which_it_is_started_anew(document: dict[str, Any]) -> None:
    limits = {service["mem_limit"] for service in ours(document).values()}

    (limit,) = limits
    # The supervisor ends a child above its limit; the container's must not come first.
    assert int(limit.removesuffix("m")) >= 1.25 * Settings.model_fields["worker_memory"].default


def test_the_database_has_connections_for_all_of_them(document: dict[str, Any]) -> None:
    (allowed,) = re.findall(r"max_connections=(\d+)", str(document["services"]["postgres"]))
    scales = {name: service.get("scale", 1) for name, service in lasting(document).items()}
    # As many workers as there are partitions, which is as far as the file says to go.
    processes = sum((scales | {"worker": PARTITIONS}).values())
    said = f"Each process of ours may open {database.CONNECTIONS}: room for {processes} of them"

    assert document["services"]["topics"]["command"] == ["topics", "create"]
    assert processes * database.CONNECTIONS < int(allowed) - 10
    assert said in (ROOT / "docker-compose.yml").read_text()


def test_each_is_asked_for_its_health_often_enough(document: dict[str, Any]) -> None:
    for name, service in document["services"].items():
        check = service["healthcheck"]
        if name in ours(document) and name not in lasting(document):
            assert check == {"disable": True}
            continue
        assert seconds(check["timeout"]) < seconds(check["interval"])
        assert seconds(check["interval"]) <= 10

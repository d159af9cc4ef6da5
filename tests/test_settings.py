from __future__ import annotations

from pathlib import Path

import pytest

from domain.errors import SettingsInvalid
from streams import settings as module
from streams.settings import environment, load


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in module.Settings.model_fields:
        monkeypatch.delenv(f"COUNTERMAND_{name.upper()}", raising=False)


def test_the_defaults_are_those_of_the_embedded_server() -> None:
    settings = load()

    assert (settings.host, settings.port, settings.broker) == ("127.0.0.1", 8080, "memory://")
    assert settings.data_dir == Path("data").absolute()
    assert settings.database == f"sqlite:///{settings.data_dir}/countermand.db"
    assert (settings.lease, settings.heartbeat, settings.claim_by) == (5.0, 1.5, 5.0)


def test_an_option_goes_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COUNTERMAND_PORT", "9000")
    monkeypatch.setenv("COUNTERMAND_DATA_DIR", str(tmp_path / "a"))

    settings = load(port=9001, data_dir=None)

    assert settings.port == 9001
    assert settings.database == f"sqlite:///{tmp_path}/a/countermand.db"


def test_the_home_directory_is_spelled_out() -> None:
    assert load(data_dir=Path("~/somewhere")).data_dir == Path.home() / "somewhere"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_a_loopback_host_is_taken(host: str) -> None:
    assert load(host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "192.168.1.5"])
def test_a_host_that_others_reach_is_refused(host: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"--host: .* use 127\.0\.0\.1"):
        load(host=host)


def test_a_wrong_variable_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERMAND_LEASE", "soon")

    with pytest.raises(SettingsInvalid, match=r"COUNTERMAND_LEASE: .*given: soon"):
        load()


def test_a_heartbeat_slower_than_the_lease_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="must come more often"):
        load(heartbeat=5.0)


def test_a_directory_that_no_database_address_can_name_is_refused_once() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load(data_dir=Path("/tmp/what?"))

    assert caught.value.message.count(";") == 1, "the database that follows from it is not a fault"


def test_a_message_never_repeats_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTERMAND_DATABASE", "oracle://me:secret@host/name")

    with pytest.raises(SettingsInvalid) as caught:
        load()

    assert caught.value.message.startswith("COUNTERMAND_DATABASE: write sqlite:///FILE or ")
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "address", ["sqlite:////tmp/x.db", "postgresql://h/n", "postgresql+psycopg://h/n"]
)
def test_two_kinds_of_databases_are_supported(address: str) -> None:
    assert load(database=address).database == address


def test_a_child_with_the_environment_has_the_same_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = load(
        data_dir=tmp_path, port=0, lease=2.0, heartbeat=0.5, failpoint="before_claim", sweep=0.25
    )
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)

    assert load() == settings


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1

"""docs/running.md, compared with what it speaks of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams.defaults import DATA_DIR
from streams.settings import PREFIX, Settings
from streams.stores import database, ownership

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "running.md").read_text()
TABLE = dict(re.findall(r"^\| `COUNTERMAND_(\w+)` \| (.*?) ?\| ", GUIDE, re.MULTILINE))
FIELDS = Settings.model_fields


def test_the_table_has_every_setting_in_its_order() -> None:
    assert [name.lower() for name in TABLE] == list(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_the_table_tells_the_default(name: str) -> None:
    default = FIELDS[name].get_default()
    written = TABLE[name.upper()]

    if FIELDS[name].default_factory is not None:
        assert re.fullmatch(r"\*[a-z ]+\*", written), "it is not a constant"
    elif default in (None, ""):
        assert written == ""
    elif isinstance(default, float):
        assert written == f"`{default:g}`"
    else:
        assert written == f"`{default}`"


def test_no_other_setting_is_spoken_of() -> None:
    named = set(re.findall(rf"{PREFIX}([A-Z_]+)", GUIDE))

    assert named - {"URL", "ACTOR", "TOKEN", "TOKEN_FILE"} == {name.upper() for name in FIELDS}
    assert FIELDS["data_dir"].default.name == DATA_DIR


def test_the_numbers_are_those_of_the_code() -> None:
    leases = ownership.LEASE_SECONDS + 2 * ownership.RENEW_SECONDS

    assert f"at most {database.CONNECTIONS} connections a process" in GUIDE
    assert f"pause for {leases:g} s when it was theirs" in GUIDE
    assert f"(session timeout, {FIELDS['session_timeout'].default:g} s)" in GUIDE
    assert f"after their lease ({FIELDS['lease'].default:g} s)" in GUIDE
    assert f"by the sweep ({FIELDS['sweep'].default:g} s)" in GUIDE


def test_the_alerts_are_on_what_is_measured() -> None:
    places = ("api/meters.py", "streams/metrics.py")
    measured = "".join((ROOT / place).read_text() for place in places)
    logged = "".join(file.read_text() for file in (ROOT / "streams").rglob("*.py"))

    for metric in set(re.findall(r"`(countermand_\w+)", GUIDE)):
        assert f'"{metric.removesuffix("_total")}"' in measured, metric
    for entry in ("dead_letter", "hung", "gave_up_waiting", "webhook_disabled"):
        assert f"`{entry}`" in GUIDE
        assert f'"{entry}"' in logged, entry

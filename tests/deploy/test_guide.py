"""docs/running.md, compared with what it speaks of."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from domain.operation import Operation
from streams import timers, topics
from streams.defaults import DATA_DIR
from streams.settings import PREFIX, Settings
from streams.stores import database, job_files, ownership, sealing, worker_use
from streams.stores.audit import heads, key, rules
from streams.transport.kafka.configs import CONFIGS, KEPT
from streams.webhooks import courier
from tests.deploy.compose import lasting, read

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDE = (DOCS / "running.md").read_text()
DAY = 86400
MIB = 1 << 20
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


def test_whoever_sizes_by_the_guide_has_as_much_memory_as_was_measured() -> None:
    (said,) = re.findall(r"reckon with (\d+) MiB for each", GUIDE)
    benchmark = _page("benchmark")
    embedded = _figures(r"Memory of all processes for .*?: (\d+) MiB", benchmark)
    embedded += _figures(r"^\| Countermand, chunks .*\| (\d+) \|$", benchmark)
    # An API, a coordinator and two workers, each with its supervisor.
    scaled = _figures(r"^\| Countermand on Kafka.*\| (\d+) \|$", benchmark)
    imported = _figures(r"^\| resident memory of all .*?\| (\d+) MB", _page("proof"))

    assert embedded
    assert scaled
    assert imported
    assert max(embedded) <= int(said)
    assert max(scaled) / 4 <= int(said)
    assert max(imported) * 1_000_000 / MIB <= int(said)


def test_all_that_goes_by_itself_is_named_with_its_time() -> None:
    disk = GUIDE.partition("- **Disk** of the database")[2].partition("- **Kafka**")[0]
    told = " ".join(disk.split())
    kept = {
        "uploads that no job has taken": timers.UPLOAD_SECONDS,
        "refusals of commands": timers.DECISION_SECONDS,
        "files that jobs have made": job_files.MAX_SECONDS,
        "webhook deliveries that arrived, and attempts at any": courier.KEPT,
        "webhook deliveries that were given up": courier.DEAD_KEPT,
        "what workers used, every 10 s": worker_use.KEPT[worker_use.STEP],
        "the same by the hour": worker_use.KEPT[worker_use.HOUR],
    }

    for what, seconds in kept.items():
        found = re.search(rf"{what}(?: \([^)]*\))? after (\d+) days?\b", told)
        assert found, what
        assert int(found[1]) == seconds / DAY, what


@pytest.mark.parametrize("page", ["running", "messages"])
def test_a_page_says_for_how_long_topics_keep_messages(page: str) -> None:
    told = " ".join(_page(page).split())
    days = int(CONFIGS["retention.ms"]) / 1000 / DAY

    assert f"for {days:g} days, and dead letters for ever" in told
    assert KEPT.keys() == {topics.DEAD}


def test_the_document_of_messages_says_for_how_long_events_are_on_their_topic() -> None:
    told = json.loads((DOCS / "asyncapi.json").read_bytes())["channels"]["events"]["description"]
    days = int(CONFIGS["retention.ms"]) / 1000 / DAY

    assert f"for {days:g} days; the database has all of them (GET /api/v1/events)" in told


@pytest.mark.parametrize("page", ["running", "messages"])
def test_who_follows_the_topic_of_events_is_told_where_older_ones_are(page: str) -> None:
    assert "GET /api/v1/events?after=0" in " ".join(_page(page).split())


def test_what_a_backup_of_serve_needs_is_named_for_either_database() -> None:
    backup = GUIDE.partition("## Backup and restore")[2]
    told = backup.partition("**Embedded**, on either database")[2].partition("\n\n")[0]

    for name in (key.FILE_NAME, sealing.FILE_NAME, heads.FILE_NAME, rules.FILE_NAME):
        assert f"`{name}`" in told


def test_an_upgrade_takes_back_no_scale() -> None:
    """A step of compose that leaves the number out makes it again what the file says."""
    given = re.findall(r"--scale\s+worker=(\d+)", GUIDE.partition("## Upgrade")[0])
    steps = GUIDE.partition("## Upgrade")[2].partition("## More partitions")[0]

    assert len(given) == 1
    assert lasting(read())["worker"]["scale"] != int(given[0])
    assert f"up --detach --no-deps --scale worker={given[0]} worker" in steps


def test_the_page_on_operations_tells_the_defaults() -> None:
    declared = {field.name: field.default for field in fields(Operation)}
    rows = dict(re.findall(r"^\| `(\w+)=` \| (.*) \|$", _page("operations"), re.MULTILINE))

    for name in ("timeout", "concurrency"):
        assert f"{declared[name]:g} when left out" in rows[name]


def test_the_page_on_operations_tells_the_steps_of_a_plug_in_where_processes_are_many() -> None:
    steps = _page("operations").partition("\n## On a scaled installation")[2].partition("\n## ")[0]
    named = ("`db upgrade`", "`db permit", "`topics create`", "**worker**", "**coordinator**")
    places = [steps.find(step) for step in (*named, "**api**")]

    assert min(places) >= 0
    assert places == sorted(places)


def _page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


def _figures(pattern: str, text: str) -> list[int]:
    return [int(found) for found in re.findall(pattern, text, re.MULTILINE)]

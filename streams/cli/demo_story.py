"""Demo story: one bulk job from its submit to its undo, each step with what must be true.

A claim that does not hold is recorded and the story goes on, as far as it can.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streams.cli.auditing import replayed, verified
from streams.cli.demo_records import Key, Records
from streams.cli.demo_stage import Stage
from streams.cli.demo_texts import (
    Mention,
    Mistake,
    find_mentions,
    first_of_each,
    item_of,
    middle_label,
    mistakes,
    mixed,
)
from streams.cli.documents import JobDocument

UPDATES = 40
DELETIONS = 10
REPLAYED = 3
"""Versions of the job's past that are compared with a replay of its events."""
_UPDATED_SCORE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What is there before the job that the story is about."""

    project: int
    text_ids: Mapping[str, int]
    mentions: Sequence[Mention]
    forgotten: str


@dataclass(frozen=True, slots=True)
class Later:
    """Records that other jobs changed after the job: annotation id to the id of that job."""

    updated: dict[int, str]
    deleted: dict[int, str]

    @property
    def all(self) -> dict[int, str]:
        """Both."""
        return self.updated | self.deleted


async def tell(stage: Stage, texts: Mapping[str, str]) -> None:
    """All steps, in order."""
    ground = await prepare(stage, texts)
    if ground is None:
        return
    before = await stage.records()
    job, wrong = await annotate(stage, ground, texts)
    label = await mend(stage, ground, job, wrong)
    later = await change_some(stage, job)
    await undo(stage, job, later, before, {("labels", label)})
    await audit(stage, job)


async def prepare(stage: Stage, texts: Mapping[str, str]) -> Ground | None:
    """A project with texts, labels but one, and some annotations of earlier work."""
    stage.public.heading("A project, its texts, and all labels but one")
    mentions = find_mentions(texts)
    enough = stage.checks.holds(
        "the texts mention enough words of Python", len(mentions) >= 3, len(mentions)
    )
    if not enough:
        return None
    (project,) = await stage.create(
        "annotations.create_projects", [{"name": "Python in words"}], "one project"
    )
    pages = [{"project_id": project, "content": content} for content in texts.values()]
    text_ids = dict(
        zip(texts, await stage.create("annotations.create_texts", pages, "texts"), strict=True)
    )
    forgotten = middle_label(mentions)
    labels = sorted({mention.label for mention in mentions} - {forgotten})
    named = [{"project_id": project, "name": label} for label in labels]
    await stage.create("annotations.create_labels", named, "labels") if named else None
    earlier = [mention for mention in first_of_each(mentions) if mention.label != forgotten]
    items = [item_of(mention, text_ids) for mention in earlier]
    if items:
        await stage.create("annotations.create", items, "earlier work", project=project)
    done = set(earlier)
    return Ground(
        project=project,
        text_ids=text_ids,
        mentions=[mention for mention in mentions if mention not in done],
        forgotten=forgotten,
    )


async def annotate(
    stage: Stage, ground: Ground, texts: Mapping[str, str]
) -> tuple[JobDocument, dict[int, Mistake]]:
    """All mentions as one job, wrong ones among them."""
    wrong = mistakes(ground.mentions, texts, ground.text_ids, stage.chance)
    right = [item_of(mention, ground.text_ids) for mention in ground.mentions]
    items, places = mixed(right, wrong, stage.chance)
    stage.public.heading(
        f"One job: {len(items):,} annotations, {len(wrong)} of them wrong on purpose, "
        f"and no label {ground.forgotten!r}"
    )
    job = await stage.run(
        "annotations.create", items, "annotate all mentions", project=ground.project
    )
    unlabelled = sum(mention.label == ground.forgotten for mention in ground.mentions)
    counts, checks = job["counts"], stage.checks
    checks.equal("every item is in exactly one place", _sum(job), len(items))
    checks.equal("the right ones succeeded", counts["succeeded"], len(right) - unlabelled)
    checks.equal(
        "those that are wrong or lack a label failed", counts["failed"], len(wrong) + unlabelled
    )
    groups = await stage.client.errors(job["job_id"])
    stage.public.errors(groups)
    checks.equal(
        "the grouped errors add up", sum(group["count"] for group in groups), counts["failed"]
    )
    return job, places


async def mend(stage: Stage, ground: Ground, job: JobDocument, wrong: Mapping[int, Mistake]) -> int:
    """Create the missing label and retry: nothing of the items is edited. Returns its id."""
    stage.public.heading(f"The label {ground.forgotten!r} is created, the failed are retried")
    label = {"project_id": ground.project, "name": ground.forgotten}
    (label_id,) = await stage.create("annotations.create_labels", [label], "the missing label")
    after = await stage.command(job, "retry", "the label is there now")
    failed = {item["position"]: item["error"] for item in await stage.items(job, "failed")}
    stage.public.errors(await stage.client.errors(job["job_id"]))
    stage.checks.equal(
        "all mentions are annotated", after["counts"]["succeeded"], len(ground.mentions)
    )
    stage.checks.equal("exactly the wrong ones remain failed", sorted(failed), sorted(wrong))
    reasons = Counter(mistake.reason for mistake in wrong.values())
    codes: dict[str, set[str]] = {reason: set() for reason in reasons}
    for position, error in failed.items():
        if position in wrong and error is not None:
            codes[wrong[position].reason].add(error["code"])
    stage.checks.holds(
        "each kind of mistake is told by a code of its own",
        all(len(found) == 1 for found in codes.values())
        and len(set().union(*codes.values())) == len(codes),
        {reason: sorted(found) for reason, found in codes.items()},
    )
    return label_id


async def change_some(stage: Stage, job: JobDocument) -> Later:
    """Two later jobs: one changes some of the annotations, one deletes a few."""
    ids = [item["result"]["id"] for item in await stage.items(job, "succeeded")]
    drawn = stage.chance.sample(ids, min(UPDATES + DELETIONS, len(ids) // 2))
    cut = max(1, len(drawn) * UPDATES // (UPDATES + DELETIONS))
    updated, deleted = drawn[:cut], drawn[cut:]
    stage.public.heading(
        f"Later jobs: {len(updated)} of the annotations are changed, {len(deleted)} deleted"
    )
    changes = [{"id": number, "confidence_score": _UPDATED_SCORE} for number in updated]
    update = await stage.run("annotations.update", changes, "review")
    stage.checks.equal("the later changes succeeded", update["counts"]["succeeded"], len(updated))
    later = Later(dict.fromkeys(updated, update["job_id"]), {})
    if deleted:
        items = [{"id": number} for number in deleted]
        removal = await stage.run("annotations.delete", items, "clean up")
        stage.checks.equal(
            "the later deletions succeeded", removal["counts"]["succeeded"], len(deleted)
        )
        later.deleted.update(dict.fromkeys(deleted, removal["job_id"]))
    return later


async def undo(
    stage: Stage, job: JobDocument, later: Later, before: Records, mended: set[Key]
) -> None:
    """The job is undone; what others changed since is left alone and named."""
    stage.public.heading("The job is undone")
    ids = {item["position"]: item["result"]["id"] for item in await stage.items(job, "succeeded")}
    reviewed = await stage.records()
    after = await stage.command(job, "undo", "the demo changed its mind")
    conflicts = await stage.items(job, "conflict")
    stage.public.items(conflicts[:5])
    checks, counts = stage.checks, after["counts"]
    checks.equal("the job is rolled back", after["status"], "rolled_back")
    checks.equal(
        "all but the conflicts were put back", counts["rolled_back"], len(ids) - len(later.all)
    )
    named = {
        ids[conflict["position"]]
        for conflict in conflicts
        if conflict["position"] in ids
        and conflict["error"] is not None
        and later.all.get(ids[conflict["position"]], "?") in conflict["error"]["message"]
    }
    checks.equal("each conflict names the job behind it", len(named), len(conflicts))
    checks.equal("exactly what others changed is in conflict", named, set(later.all))
    kept = {("annotations", number) for number in later.updated}
    now = await stage.records()
    checks.equal(
        f"every other record is as before the job (SHA-256 over {len(before.rows):,} records)",
        now.without(kept | mended).digest(),
        before.digest(),
    )
    checks.equal(
        "what others changed is as they left it",
        now.only(kept).digest(),
        reviewed.only(kept).digest(),
    )
    await undo_the_undo(stage, job, reviewed, counts["rolled_back"])


async def undo_the_undo(stage: Stage, job: JobDocument, reviewed: Records, restored: int) -> None:
    """Undo once more: the job's work is back."""
    stage.public.heading("The undo is undone")
    again = await stage.command(job, "undo", "it was right after all")
    now = await stage.records()
    stage.checks.equal("its work is back", again["counts"]["succeeded"], restored)
    stage.checks.equal(
        f"every record is as before the undo (SHA-256 over {len(reviewed.rows):,} records)",
        now.digest(),
        reviewed.digest(),
    )


async def audit(stage: Stage, job: JobDocument) -> None:
    """The chain of events is verified, and the job's past is replayed from it."""
    stage.public.heading("The audit trail, read from the database")
    report = await asyncio.to_thread(verified, stage.settings, "")
    stage.checks.equal(
        f"the chain of all {report.events:,} events is whole",
        [finding.message for finding in report.findings],
        [],
    )
    latest = await stage.client.job(job["job_id"])
    versions = range(1, latest["version"] + 1)
    for version in sorted(stage.chance.sample(versions, min(REPLAYED, len(versions)))):
        replay = await asyncio.to_thread(replayed, stage.settings, job["job_id"], version)
        past = await stage.client.job(job["job_id"], at=version)
        stage.checks.equal(
            f"replayed from its events, the job was the same at version {version}",
            (replay["status"], replay["counts"]),
            (past["status"], past["counts"]),
        )


def _sum(job: JobDocument) -> int:
    counts = job["counts"]
    return (
        counts["pending"]
        + counts["succeeded"]
        + counts["failed"]
        + counts["skipped"]
        + counts["rolled_back"]
        + counts["conflict"]
    )

"""What keeps jobs at rest, on the stages of a test: rules, and an archivist that may die."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from domain.registry import Registry
from domain.retention import Rule
from streams.archiving import Archivist
from streams.failpoints import Failpoint, Failpoints
from streams.queries import Queries
from streams.retaining import Retained, Retainer
from streams.retention import Retention
from streams.stores import audit, migrate
from streams.stores.database import Database
from tests.engine.stages import Stages
from tests.engine.stock import operations, stock

NAMES = [{"name": f"n{n}"} for n in range(30)]


class Death(BaseException):
    """A process is gone; nothing that it would have done is."""


class Mortal(Failpoints):
    """Dies at the first place of that name."""

    def __init__(self, place: Failpoint | None = None) -> None:
        super().__init__()
        self.place = place

    def reach(self, place: Failpoint) -> None:
        if place is self.place:
            self.place = None
            raise Death(place)


@dataclass
class Keeping:
    """The stages of an installation that signs its heads into ``folder``."""

    stages: Stages
    folder: Path
    heads: audit.HeadsFile
    retained: Retained = field(default_factory=Retained)

    def __post_init__(self) -> None:
        self.retention = Retention(self.stages.database, self.stages.registry, self.stages.clock)
        self.queries = Queries(self.stages.database, self.stages.jobs, self.stages.registry)
        self.renew()

    @property
    def archives(self) -> Path:
        return self.folder / "archives"

    def renew(self, place: Failpoint | None = None, folder: Path | None = None) -> None:
        """Another process has them from now on; it dies at that place."""
        self.retainer = Retainer(
            database=self.stages.database,
            registry=self.stages.registry,
            clock=self.stages.clock,
            send=self.stages.send,
            retained=self.retained,
        )
        self.archivist = self.another(self.stages.database, Mortal(place), folder)

    def another(
        self, database: Any, failpoints: Failpoints, folder: Path | None = None
    ) -> Archivist:
        """Who archives in another process, which has the database as that one."""
        return Archivist(
            database=database,
            registry=self.stages.registry,
            folder=folder or self.archives,
            heads=lambda: self.heads,
            ids=self.stages.ids,
            send=self.stages.send,
            failpoints=failpoints,
            retained=self.retained,
        )

    async def rule(self, kind: str = "*", tenant: str = "*", **ages: float) -> None:
        await self.retention.set_rule(
            Rule(tenant=tenant, kind=kind, **ages), keep=not ages, actor="ops", reason="policy"
        )

    async def look(self) -> int:
        """The rules have their say, and what they have said is done."""
        sent = await self.retainer.look()
        await self.stages.run_dry()
        return sent

    async def archive(self, looks: int = 2) -> None:
        """What was put away is written and cleared."""
        for _ in range(looks):
            await self.archivist.look()
            await self.stages.run_dry()

    async def done(self, operation: str = "stock.create", **fields: object) -> str:
        """A job that has come to rest."""
        job_id = await self.stages.submit(operation, NAMES, **fields)  # type: ignore[arg-type]
        await self.stages.run_dry()
        return job_id

    def files(self, job_id: str) -> list[Path]:
        return sorted((self.archives / job_id).glob("*"))

    def report(self, job_id: str | None = None) -> audit.Report:
        return audit.verify(self.stages.database, self.heads, job_id=job_id)


def kept(database: Database, folder: Path) -> Keeping:
    """Stages on a database, with all that keeps jobs at rest."""
    migrate.create_missing(database, [stock])
    key = audit.AuditKey.load_or_create(folder / "audit.key")
    heads = audit.HeadsFile(folder / "heads", key)
    stages = Stages(database, Registry(operations))
    stages.stored = lambda found: heads.append(stages.recorder.heads_of(found))
    stages.restart()
    return Keeping(stages, folder, heads)

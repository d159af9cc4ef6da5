"""Plug-ins that tests write as an outsider would: a module and the metadata beside it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.crash.keeper import installed
from tests.nursery import CHECKOUT

STOCKROOM = """\
from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, String, Table
from domain.operation import operation
from domain.outcomes import Done, Failed
from domain.records import Change

shelves = Table("shelves", MetaData(), Column("id", Integer, primary_key=True),
    Column("version", Integer), Column("tenant", String),
    Column("code", String), Column("amount", Integer))

class Delivery(BaseModel):
    code: str
    amount: int

@operation("stock.open", item=Delivery, tables=[shelves])
def open_shelf(ctx, item):
    row = (item.code, item.amount)
    return Done({"id": ctx.store.insert(shelves, ["code", "amount"], [row], [ctx.position])[0]})

@operation("stock.add", item=Delivery, tables=[shelves])
def add(ctx, item):
    for shelf in ctx.store.find(shelves, shelves.c.code == item.code):
        change = {"amount": shelf["amount"] + item.amount}
        ctx.store.update(shelves, [Change(shelf["id"], change, position=ctx.position)])
        return Done(change)
    return Failed("no_shelf", f"there is no shelf {item.code}; open it", "/code", retryable=True)

operations = [open_shelf, add]
"""
CROWD = """
import time
from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, String, Table
from domain.operation import operation
from domain.outcomes import Done
from domain.records import Change

tills = Table("tills", MetaData(), Column("id", Integer, primary_key=True),
    Column("version", Integer), Column("tenant", String),
    Column("code", String), Column("paid", Integer))

class Payment(BaseModel):
    code: str
    amount: int

@operation("crowd.open", item=Payment, tables=[tills])
def open_till(ctx, item):
    row = (item.code, item.amount)
    return Done({"id": ctx.store.insert(tills, ["code", "paid"], [row], [ctx.position])[0]})

def _pay(ctx, item):
    (till,) = ctx.store.find(tills, tills.c.code == item.code)
    time.sleep(0.005)
    change = {"paid": till["paid"] + item.amount}
    ctx.store.update(tills, [Change(till["id"], change, position=ctx.position)])
    return Done(change)

@operation("crowd.pay", item=Payment, tables=[tills])
def pay(ctx, item):
    return _pay(ctx, item)

@operation("crowd.rush", item=Payment, independent=True, tables=[tills])
def rush(ctx, item):
    "A promise that is not kept: items do write to the same record."
    return _pay(ctx, item)

operations = [open_till, pay, rush]
"""
TORTOISE = """
import time
from pydantic import BaseModel
from domain.operation import operation
from domain.outcomes import Done

class Step(BaseModel):
    n: int

@operation("tortoise.walk", item=Step)
def operations(ctx, item):
    "Take a step, slowly."
    time.sleep(0.02)
    return Done()
"""
SLEEPER = """
import asyncio
import os
from pydantic import BaseModel
from domain.operation import operation
from domain.outcomes import Done

class Nap(BaseModel):
    number: int
    ms: int

class Journal(BaseModel):
    journal: str

@operation("sleeper.nap", item=Nap, params=Journal, slow=True)
async def operations(ctx, item):
    descriptor = os.open(ctx.params.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, b"%d\\n" % item.number)
    os.close(descriptor)
    await asyncio.sleep(item.ms / 1000)
    return Done({"number": item.number})
"""
WALKER = """
import time
from pydantic import BaseModel
from domain.operation import operation
from domain.outcomes import Done

class Step(BaseModel):
    ms: float

@operation("walker.step", item=Step)
def operations(ctx, item):
    time.sleep(item.ms / 1000)
    return Done()
"""
FITFUL = """
import os
from pathlib import Path
from pydantic import BaseModel
from domain.operation import operation
from domain.outcomes import Done, Failed

class Try(BaseModel):
    n: int
    bad: bool = False
    times: int = 0

class Folder(BaseModel):
    folder: str

def note(path, words):
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, words)
    length = os.fstat(descriptor).st_size
    os.close(descriptor)
    return length

@operation("fitful.one", item=Try, params=Folder, codes=["bad", "not_yet"])
def one(ctx, item):
    "Bad ones fail until the folder is mended, others as often as they say."
    folder = Path(ctx.params.folder)
    note(folder / "calls", b"%d\\n" % item.n)
    if item.bad and not (folder / "mended").exists():
        return Failed("bad", f"thing {item.n} is bad", "/bad")
    if item.times and note(folder / f"tries-{item.n}", b".") <= item.times:
        return Failed("not_yet", f"thing {item.n} is not there yet", retryable=True)
    return Done()

@operation("fitful.many", item=Try, params=Folder, per="chunk")
def many(ctx, items):
    "No chunk with a bad one goes well."
    bad = sum(item.bad for item in items)
    note(Path(ctx.params.folder) / "chunks", b"%d %d\\n" % (len(items), bad))
    if bad:
        raise ValueError("poison")
    return [Done()] * len(items)

operations = [one, many]
"""
METRONOME = """
import asyncio
import os
import time
from pydantic import BaseModel
from domain.operation import operation
from domain.outcomes import Done, Failed

class Beat(BaseModel):
    n: int
    ms: float = 0
    bad: bool = False

class Journal(BaseModel):
    folder: str

def note(ctx, item, what):
    path = f"{ctx.params.folder}/beats"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{time.time():.4f} {what} {item.n}\\n".encode())
    os.close(descriptor)

def result(ctx, item):
    bad = item.bad and not os.path.exists(f"{ctx.params.folder}/mended")
    return Failed("off", "off the beat", "/bad") if bad else Done()

@operation("metronome.beat", item=Beat, params=Journal, independent=True)
def beat(ctx, item):
    note(ctx, item, "begin")
    time.sleep(item.ms / 1000)
    note(ctx, item, "end")
    return result(ctx, item)

@operation("metronome.swing", item=Beat, params=Journal, slow=True, concurrency=32)
async def swing(ctx, item):
    note(ctx, item, "begin")
    await asyncio.sleep(item.ms / 1000)
    note(ctx, item, "end")
    return result(ctx, item)

@operation("metronome.ring", item=Beat, params=Journal, independent=True, provider="bell")
def ring(ctx, item):
    return beat.apply(ctx, item)

@operation("metronome.chime", item=Beat, params=Journal, slow=True, concurrency=32, provider="bell")
async def chime(ctx, item):
    return await swing.apply(ctx, item)

operations = [beat, swing, ring, chime]
"""

COURIER = """
import os
import time
from pathlib import Path
from pydantic import BaseModel
from sqlalchemy import Column, Integer, MetaData, String, Table
from domain.operation import operation
from domain.options import Backoff
from domain.outcomes import Done, Failed, Restored

parcels = Table("parcels", MetaData(), Column("id", Integer, primary_key=True),
    Column("version", Integer), Column("tenant", String), Column("code", String))

class Parcel(BaseModel):
    code: str
    bad: bool = False

class Folder(BaseModel):
    folder: str

def note(folder, words):
    descriptor = os.open(f"{folder}/journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, words.encode() + b"\\n")
    os.close(descriptor)

def recall(ctx, item, result):
    note(ctx.params.folder, f"back {ctx.position} {ctx.idempotency_key}")
    time.sleep(0.02)
    if item.bad and not (Path(ctx.params.folder) / "mended").exists():
        return Failed("no_answer", f"nobody answers about {item.code}", retryable=True)
    return Restored()

@operation("courier.deliver", item=Parcel, params=Folder, tables=[parcels],
    outside=["parcel"], compensate=recall, patience=Backoff(attempts=3, delay=0.05))
def deliver(ctx, item):
    key = ctx.store.insert(parcels, ["code"], [(item.code,)], [ctx.position])[0]
    note(ctx.params.folder, f"out {ctx.position} {ctx.idempotency_key}")
    return Done({"id": key})

@operation("courier.shout", item=Parcel, params=Folder, outside=["noise"])
def shout(ctx, item):
    return Done()

operations = [deliver, shout]
"""

GLUTTON = """
import mmap
import time
from pathlib import Path
import psutil
from pydantic import BaseModel
from domain.operation import operation
from domain.outcomes import Done

BLOCK = 4 << 20

class Meal(BaseModel):
    mib: int

class Folder(BaseModel):
    folder: str

@operation("glutton.eat", item=Meal, params=Folder, slow=True, timeout=120.0)
def operations(ctx, item):
    "Have the process take so much memory, until somebody says stop."
    eaten = []
    while psutil.Process().memory_info().rss < item.mib << 20:
        block = mmap.mmap(-1, BLOCK)
        block.write(bytes(BLOCK))
        eaten.append(block)
    while not (Path(ctx.params.folder) / "stop").exists():
        time.sleep(0.05)
    for block in eaten:
        block.close()
    return Done()
"""

_MODULES = {
    "stockroom": STOCKROOM,
    "crowd": CROWD,
    "tortoise": TORTOISE,
    "sleeper": SLEEPER,
    "walker": WALKER,
    "fitful": FITFUL,
    "metronome": METRONOME,
    "courier": COURIER,
    "glutton": GLUTTON,
}


def plugin(folder: Path, name: str, text: str) -> str:
    """What PYTHONPATH must hold for a server to find ``operations`` of such a module."""
    return str(installed(folder, name, f"{name}:operations", [(f"{name}.py", text)]))


def crash_plugin(folder: Path) -> Path:
    """The crash plug-in as a distribution of its own; returns what to put on the path."""
    return installed(folder, "crash-plugin", "tests.crash.plugin:operations")


def all_plugins(folder: Path) -> str:
    """What PYTHONPATH must hold for a server to find every plug-in of the tests."""
    for name, text in _MODULES.items():
        plugin(folder, name, text)
    return os.pathsep.join(map(str, (CHECKOUT, crash_plugin(folder))))

"""Settings: everything that may differ between installations, each default said once.

Read from the environment (``COUNTERMAND_DATA_DIR`` and so on); the command line's options
go over it. The supervisor hands the result to its child by :func:`environment`.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.errors import SettingsInvalid
from streams import defaults

PREFIX = "COUNTERMAND_"
DATABASE_FILE = "countermand.db"
SECRET_FIELDS = frozenset({"database", "broker"})
"""Fields whose value may hold a password: no message repeats it."""


def _directory(path: Path) -> Path:
    if "?" in str(path):
        raise ValueError("a database address cannot name a directory with a ? in it; rename it")
    return path.expanduser().absolute()


def _loopback(host: str) -> str:
    if host == "localhost":
        return host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host!r} is no address; use 127.0.0.1, ::1 or localhost") from None
    if not address.is_loopback:
        raise ValueError(
            f"{host} can be reached from other machines, and this release does not tell who "
            "calls; use 127.0.0.1 (and an SSH tunnel from elsewhere)"
        )
    return host


def _supported(address: str) -> str:
    dialect = address.partition(":")[0].partition("+")[0]
    if dialect not in ("sqlite", "postgresql"):
        raise ValueError("write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME")
    return address


def _embedded_database(values: dict[str, Any]) -> str:
    return f"sqlite:///{values['data_dir'] / DATABASE_FILE}"


def _this_process() -> str:
    """The supervisor hands its own on, so that a child that is started again keeps it."""
    return f"{socket.gethostname()}-{os.getpid()}"


Seconds = Annotated[float, Field(gt=0, le=3600)]


class Settings(BaseSettings):
    """What a process of Countermand is started with; times in seconds, memory in MiB."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data_dir: Annotated[Path, AfterValidator(_directory)] = Field(
        default=Path(defaults.DATA_DIR), validate_default=True
    )
    host: Annotated[str, AfterValidator(_loopback)] = defaults.HOST
    port: Annotated[int, Field(ge=0, le=65535)] = defaults.PORT
    """0 takes a free port."""
    database: Annotated[str, AfterValidator(_supported)] = Field(default_factory=_embedded_database)
    """An SQLAlchemy address; the default is a SQLite file in the data directory."""
    broker: Annotated[str, Field(min_length=1)] = "memory://"
    lease: Seconds = 5.0
    """How long a claimed chunk belongs to its worker without a heartbeat."""
    heartbeat: Seconds = 1.5
    claim_by: Seconds = 5.0
    """How long a dispatched chunk waits for a worker before it is sent again."""
    sweep: Seconds = 1.0
    """Time between two looks for what was lost on the way."""
    drain: Seconds = 10.0
    """How long work in flight may take to end once the process was asked to stop."""
    session_timeout: Seconds = 6.0
    """How long the broker waits for a silent member before its partitions go to others."""
    instance: Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]{1,80}$")] = Field(
        default_factory=_this_process
    )
    """Names this process among those of its kind: unique, and best kept over restarts."""
    slots: Annotated[int, Field(ge=1, le=64)] = defaults.SLOTS
    """Messages that a worker process handles at a time."""
    systems: Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]*(,[a-z][a-z0-9_]*)*)?$")] = ""
    """Whose work a worker process takes, with commas between; the default is all installed."""
    worker_memory: Annotated[int, Field(ge=64)] = defaults.WORKER_MEMORY
    failpoint: str | None = None
    """Where to kill the process on purpose; only crash tests set it."""
    log_level: Literal["debug", "info", "warning", "error"] = defaults.LOG_LEVEL

    @model_validator(mode="after")
    def _heartbeat_within_lease(self) -> Self:
        if self.heartbeat >= self.lease:
            raise ValueError(
                f"the heartbeat ({self.heartbeat:g} s) must come more often than a lease ends "
                f"({self.lease:g} s)"
            )
        return self


def load(**options: Any) -> Settings:
    """Settings from the environment, with the options that are not None over it.

    Raises:
        SettingsInvalid: A value is wrong; the message names where it was set.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**chosen)
    except ValidationError as error:
        raise SettingsInvalid("; ".join(_sentences(error, chosen))) from None


def environment(settings: Settings) -> dict[str, str]:
    """The environment variables that make a child process load the same settings."""
    return {
        f"{PREFIX}{name.upper()}": str(value)
        for name, value in settings.model_dump().items()
        if value is not None
    }


def _sentences(error: ValidationError, chosen: dict[str, Any]) -> list[str]:
    sentences = []
    for fault in error.errors(include_url=False, include_context=False):
        if fault["type"] == "default_factory_not_called":
            continue
        said = fault["msg"].removeprefix("Value error, ")
        if not fault["loc"]:
            sentences.append(said)
            continue
        name = str(fault["loc"][0])
        where = f"--{name.replace('_', '-')}" if name in chosen else f"{PREFIX}{name.upper()}"
        value = "" if name in SECRET_FIELDS else f" (given: {fault['input']})"
        sentences.append(f"{where}: {said}{value}")
    return sentences

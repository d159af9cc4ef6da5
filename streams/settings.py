"""Settings: everything that may differ between installations, each default said once.

Read from the environment (``COUNTERMAND_DATA_DIR`` and so on); the command line's options
go over it. The supervisor hands the result to its child by :func:`environment`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import socket
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.errors import SettingsInvalid
from domain.operation import SYSTEM
from domain.options import Caps
from streams import broker_address, defaults, networks, secret_files
from streams.broker_address import BrokerAddress
from streams.broker_security import Access, Mechanism
from streams.quotas import Quotas, QuotaTable
from streams.roles import Role
from streams.setting_tables import checked_limits, checked_quotas, limits_in, quotas_in

PREFIX = "COUNTERMAND_"
OF_OTHERS = frozenset(
    {
        *("URL", "TOKEN", "TOKEN_FILE", "ACTOR"),
        *("VERSION", "PUBLISHED_PORT", "PASSWORD_FILE", "ENGINE_PASSWORD_FILE"),
        *("KEY_FILE", "SECRET_FILE"),
        *("TEST_SEED", "REQUIRE_SERVICES", "KAFKA_JARS"),
    }
)
"""Variables that are no settings: of the verbs, of docker-compose.yml, of the tests."""
DATABASE_FILE = "countermand.db"
SECRET_FIELDS = frozenset(
    {
        "database",
        "database_password_file",
        "broker",
        "broker_key",
        "broker_password",
        "broker_password_file",
        "token_secret",
        "token_secret_file",
    }
)
"""Fields whose value may hold a password: no message repeats it.

Those of files hold one where somebody took them for the place of the password itself.
"""
MIN_SECRET = 32
"""Bytes; a shorter one can be guessed offline from any token (RFC 7518, section 3.2)."""
MAX_SECRETS = 3
MAX_SESSION = 40.0
"""Seconds: the client of the broker takes none longer than it waits for an answer."""
_PLAIN = r"^[^\s\x00-\x1f\x7f]{1,500}$"
MOST_OF_INSTANCE = 60
"""Characters: a slot of a worker is named by it, an id and a number, 100 in all."""
MOST_OF_HOST = 50
"""Those of them that the name of the host has by default; a hyphen and the process follow."""
_INSTANCE = re.compile(rf"[0-9A-Za-z._-]{{1,{MOST_OF_INSTANCE}}}")
_RATE = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour|day)")
BUDGET_PART = 0.8
MIB = 1 << 20
_ONE_PLACE = re.compile(
    r"[^:]+://([^:/]*(:[^@]*)?@)?"  # who, as SQLAlchemy finds it
    r"(\[[^]/?]+\]|[^:/?\[]*)(:[0-9]*)?([/?]|$)"
)
_HOST_NAME = re.compile(r"[0-9a-z_]([0-9a-z_-]*[0-9a-z_])?(\.[0-9a-z_]([0-9a-z_-]*[0-9a-z_])?)*")


def _directory(path: Path) -> Path:
    if "?" in str(path):
        raise ValueError("a database address cannot name a directory with a ? in it; rename it")
    return path.expanduser().absolute()


def _place(file: Path | None) -> Path | None:
    return None if file is None else file.expanduser().absolute()


def _named(names: str) -> str:
    """Names for the Host header, in lower case; raises ValueError for what none can be."""
    written = names.lower()
    for name in written.split(",") if written else []:
        address = _address(name)
        if address is not None and address.is_unspecified:
            raise ValueError(f"{name} is every address; name the ones that callers write")
        if address is None and not _HOST_NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is no host name; write the names that callers use, with commas "
                "between, without ports and without wildcards"
            )
    return written


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _reachable(host: str, info: ValidationInfo) -> str:
    if host == "localhost":
        return host
    address = _address(host)
    if address is None:
        raise ValueError(f"{host!r} is no address; use 127.0.0.1, ::1 or localhost")
    if not address.is_loopback and not info.data.get("exposed_to"):
        raise ValueError(
            f"{host} can be reached from other machines; use 127.0.0.1 (and an SSH tunnel from "
            f"elsewhere), or name what they call it: {PREFIX}EXPOSED_TO"
        )
    return host


def _supported(address: str) -> str:
    dialect = address.partition(":")[0].partition("+")[0]
    if dialect not in ("sqlite", "postgresql"):
        raise ValueError("write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME")
    if dialect == "postgresql" and not _ONE_PLACE.match(address):
        raise ValueError(
            "the place of a database is HOST or HOST:PORT; write several as "
            "postgresql://USER@/NAME?host=HOST:PORT&host=HOST:PORT"
        )
    return address


def _file_of(address: str) -> Path | None:
    """The file of a SQLite address, as SQLAlchemy finds it; None where there is none."""
    kind, _, rest = address.partition("://")
    name, _, query = rest.removeprefix("/").partition("?")
    if "uri" in parse_qs(query):
        name = unquote(urlsplit(name).path)
    return Path(name) if kind.startswith("sqlite") and name not in ("", ":memory:") else None


def _broker(address: str) -> str:
    broker_address.parse(address)
    return address


def _jwks(place: str) -> str:
    parts = urlsplit(place)
    if parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost"):
        return place
    if parts.scheme == "https" and parts.hostname:
        return place
    if parts.scheme:
        raise ValueError("write an address as https://HOST/PATH, or the path of a file")
    return str(Path(place).expanduser().absolute()) if place else place


def _rate(text: str) -> str:
    if text and _RATE.fullmatch(text) is None:
        raise ValueError("write how often in what time, as 600/minute; nothing for no limit")
    return text


def _embedded_database(values: dict[str, Any]) -> str:
    return f"sqlite:///{values['data_dir'] / DATABASE_FILE}"


def _this_process() -> str:
    """The supervisor hands its own on, so that a child that is started again keeps it."""
    return f"{_in_short(socket.gethostname())}-{os.getpid()}"


def _in_short(host: str) -> str:
    """As much of a host's name as there is room for; those of a cluster may differ at their end."""
    if len(host) <= MOST_OF_HOST:
        return host
    digest = hashlib.sha256(host.encode()).hexdigest()[:8]
    return f"{host[: MOST_OF_HOST - len(digest) - 1]}-{digest}"


def _instance(name: str) -> str:
    if _INSTANCE.fullmatch(name) is None:
        raise ValueError(
            f"write {MOST_OF_INSTANCE} characters at most: letters, digits, dots, hyphens and "
            "underscores; what stands in the database is made of it"
        )
    return name


def _systems(names: str) -> str:
    for name in names.split(",") if names else []:
        if re.fullmatch(SYSTEM, name) is None:
            raise ValueError(
                f"{name!r} is no system; write the names before the dots of the operations, with "
                "commas between and without spaces, as in shop,mail"
            )
    return names


Seconds = Annotated[float, Field(gt=0, le=3600)]


class Settings(BaseSettings):
    """What a process of Countermand is started with; times in seconds, memory in MiB."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data_dir: Annotated[Path, AfterValidator(_directory)] = Field(
        default=Path(defaults.DATA_DIR), validate_default=True
    )
    exposed_to: Annotated[str, AfterValidator(_named)] = ""
    """Host names by which other machines may call, with commas between. Without any, only the
    loopback address is listened on."""
    host: Annotated[str, AfterValidator(_reachable)] = defaults.HOST
    port: Annotated[int, Field(ge=0, le=65535)] = defaults.PORT
    """0 takes a free port."""
    database: Annotated[str, AfterValidator(_supported)] = Field(default_factory=_embedded_database)
    """An SQLAlchemy address; the default is a SQLite file in the data directory."""
    database_password_file: Annotated[Path | None, AfterValidator(_place)] = None
    """A file with the password that the address of the database leaves out."""
    payload_key_file: Annotated[Path | None, AfterValidator(_place)] = None
    """A file with the key that seals what callers have sent, 64 hexadecimal digits; the same for
    all processes. ``serve`` makes one in the data directory when none is named."""
    archive_dir: Annotated[Path | None, AfterValidator(_place)] = None
    """A directory for what archived jobs give up, in the clear; the same for all coordinators.
    Without one they give up nothing."""
    broker: Annotated[str, AfterValidator(_broker)] = broker_address.EMBEDDED
    """``memory://``, or ``kafka://HOST:PORT,HOST:PORT``; ``kafka+ssl://`` speaks TLS."""
    broker_ca: Annotated[Path | None, AfterValidator(_place)] = None
    """A file of the certificates that sign those of the broker's servers, and no others; without
    one they are whom this machine trusts."""
    broker_cert: Annotated[Path | None, AfterValidator(_place)] = None
    broker_key: Annotated[Path | None, AfterValidator(_place)] = None
    """Files of the certificate that is shown to the broker, where it asks for one, and its key."""
    broker_user: Annotated[str, Field(pattern=rf"({_PLAIN})?")] = ""
    broker_password: SecretStr | None = None
    broker_password_file: Annotated[Path | None, AfterValidator(_place)] = None
    broker_mechanism: Mechanism = "SCRAM-SHA-512"
    """How the user proves that they have the password."""
    actors: Literal["local", "named", "proven"] = "local"
    """Who callers are: ``local`` are all one; ``named`` are whom a header names, which nobody
    checks; ``proven`` show a token or a key, which also says whose jobs are theirs."""
    token_secret: SecretStr | None = None
    token_secret_file: Annotated[Path | None, AfterValidator(_place)] = None
    """Signs and checks tokens (HS256); the file may have more lines, which only check."""
    token_issuer: Annotated[str, Field(pattern=_PLAIN)] = defaults.ISSUER
    """Who makes the tokens of that secret."""
    token_audience: Annotated[str, Field(pattern=_PLAIN)] = defaults.AUDIENCE
    """For whom tokens must be meant, whoever makes them."""
    jwks: Annotated[str, AfterValidator(_jwks)] = ""
    """The public keys of an identity provider (RS256, ES256): an https address, or a file."""
    jwks_issuer: Annotated[str, Field(pattern=rf"({_PLAIN})?")] = ""
    jwks_tenant_claim: Annotated[str, Field(pattern=_PLAIN)] = "tenant"
    jwks_roles_claim: Annotated[str, Field(pattern=_PLAIN)] = "roles"
    rate_limit: Annotated[str, AfterValidator(_rate)] = defaults.RATE_LIMIT
    """How often a caller who is proven may call a route, as ``600/minute``; empty: as they like."""
    rate_failures: Annotated[str, AfterValidator(_rate)] = defaults.RATE_FAILURES
    """How often an address may show a token or a key that is refused."""
    quota_items_a_day: Annotated[int, Field(ge=0)] | None = None
    quota_open_jobs: Annotated[int, Field(ge=0)] | None = None
    quota_stored_bytes: Annotated[int, Field(ge=0)] | None = None
    quota_streams: Annotated[int, Field(ge=0)] | None = None
    """Of live streams in one process. Each of these is what a tenant may have; else unlimited."""
    quotas: Annotated[str, AfterValidator(checked_quotas)] = ""
    """Those of single tenants where they are other, as JSON: ``{"acme": {"open_jobs": 50}}``."""
    approval_above: Annotated[int, Field(ge=0)] | None = None
    """Jobs of more items, and those of destructive operations, wait for a second identity."""
    lease: Seconds = 5.0
    """How long a claimed chunk belongs to its worker without a heartbeat."""
    heartbeat: Seconds = 1.5
    claim_by: Seconds = 5.0
    """How long a dispatched chunk waits for a worker before it is sent again."""
    sweep: Seconds = 1.0
    """Time between two looks for what was lost on the way."""
    leave: Annotated[float, Field(ge=0, le=60)] = 0.0
    """How long who serves callers says that it ends and serves on, before it drains."""
    drain: Seconds = 10.0
    """How long work in flight may take to end once the process was asked to stop."""
    session_timeout: Annotated[float, Field(gt=0, le=MAX_SESSION)] = 6.0
    """How long the broker waits for a silent member before its partitions go to others."""
    instance: Annotated[str, AfterValidator(_instance)] = Field(default_factory=_this_process)
    """Names this process among those of its kind: unique, and best kept over restarts."""
    slots: Annotated[int, Field(ge=1, le=64)] = defaults.SLOTS
    """Messages of each system that a worker process works at a time, but for short ones beside."""
    systems: Annotated[str, AfterValidator(_systems)] = ""
    """Whose work a worker process takes, with commas between; the default is all installed."""
    worker_memory: Annotated[int, Field(ge=64)] = defaults.WORKER_MEMORY
    worker_memory_budget: Annotated[int, Field(ge=1)] | None = None
    """Resident memory above which a worker takes no more work while it has some; the default is a
    part of ``worker_memory``, at which it is replaced."""
    limits: Annotated[str, AfterValidator(checked_limits)] = ""
    """What providers and queues are limited to at first, as JSON: ``{"provider:openai":
    {"rate": 10, "concurrency": 4}}``. Who changes one while it runs has the last word."""
    webhook_networks: Annotated[str, AfterValidator(networks.checked)] = ""
    """Whose addresses webhooks may have beside public ones; ``webhook_http``: without TLS."""
    webhook_http: bool = False
    failpoint: str | None = None
    """Where to kill the process on purpose; only crash tests set it."""
    tracing: Literal["off", "otlp"] = "off"
    log_level: Literal["debug", "info", "warning", "error"] = defaults.LOG_LEVEL
    _opening: str = PrivateAttr("")
    _secrets: tuple[str, ...] = PrivateAttr(())

    @property
    def database_address(self) -> str:
        """The database's address with its password: to open it, and never to be shown."""
        return self._opening

    @property
    def database_file(self) -> Path | None:
        """The file of a SQLite database; None for PostgreSQL, and for one in memory."""
        return _file_of(self.database)

    @cached_property
    def broker_address(self) -> BrokerAddress:
        """The broker's address with what is shown to it: to open it, and never to be shown.

        Its files are read now, and not by those who never speak to it: they need not have them.
        Raises SettingsInvalid when one is of no use, or all of it does not fit together.
        """
        try:
            return broker_address.parse(self.broker, self._access)
        except ValueError as error:
            raise SettingsInvalid(str(error)) from None

    @property
    def _access(self) -> Access:
        return Access(
            ca=self.broker_ca,
            cert=self.broker_cert,
            key=self.broker_key,
            user=self.broker_user,
            password=self._password_of_the_broker,
            mechanism=self.broker_mechanism,
        )

    @property
    def _password_of_the_broker(self) -> str:
        if self.broker_password_file is None:
            return self._given_to_the_broker
        try:
            return secret_files.read(self.broker_password_file)
        except ValueError as error:
            raise ValueError(f"{PREFIX}BROKER_PASSWORD_FILE: {error}") from None

    @property
    def _given_to_the_broker(self) -> str:
        return "" if self.broker_password is None else self.broker_password.get_secret_value()

    @property
    def limit_table(self) -> dict[str, Caps]:
        """The limits of providers and queues, by name."""
        return limits_in(self.limits)

    @property
    def quota_table(self) -> QuotaTable:
        """What each tenant may have."""
        everybody = Quotas(
            items_a_day=self.quota_items_a_day,
            open_jobs=self.quota_open_jobs,
            stored_bytes=self.quota_stored_bytes,
            streams=self.quota_streams,
        )
        return QuotaTable(everybody, quotas_in(self.quotas))

    @property
    def memory_budget(self) -> int:
        """What a worker may have before its intake waits, in bytes."""
        budget = self.worker_memory_budget
        return int(MIB * (self.worker_memory * BUDGET_PART if budget is None else budget))

    @property
    def exposed_names(self) -> frozenset[str]:
        """What a Host header may carry beside the names of this machine."""
        names = self.exposed_to.split(",") if self.exposed_to else []
        return frozenset(f"[{name}]" if ":" in name else name for name in names)

    @model_validator(mode="after")
    def _password_in_its_place(self) -> Self:
        address = self.database
        if self.database_password_file is not None:
            try:
                password = secret_files.read(self.database_password_file)
                address = secret_files.with_password(address, password)
            except ValueError as error:
                raise ValueError(f"{PREFIX}DATABASE_PASSWORD_FILE: {error}") from None
        self._opening = address
        return self

    @model_validator(mode="after")
    def _one_password_of_the_broker(self) -> Self:
        if self._given_to_the_broker and self.broker_password_file is not None:
            raise ValueError(
                f"set {PREFIX}BROKER_PASSWORD or {PREFIX}BROKER_PASSWORD_FILE, not both"
            )
        return self

    @property
    def token_secrets(self) -> tuple[str, ...]:
        """The secrets of tokens, the one that signs first: to use them, and never to be shown."""
        return self._secrets

    @model_validator(mode="after")
    def _secrets_in_their_place(self) -> Self:
        given = self.token_secret
        secrets = () if given is None else (given.get_secret_value(),)
        if self.token_secret_file is not None:
            try:
                secrets = (*secrets, *secret_files.read_lines(self.token_secret_file, MAX_SECRETS))
            except ValueError as error:
                raise ValueError(f"{PREFIX}TOKEN_SECRET_FILE: {error}") from None
            if given is not None:
                raise ValueError(f"set {PREFIX}TOKEN_SECRET or {PREFIX}TOKEN_SECRET_FILE, not both")
        if any(len(secret.encode()) < MIN_SECRET for secret in secrets):
            raise ValueError(
                f"a secret of tokens has {MIN_SECRET} bytes or more; make one by: "
                "head -c 48 /dev/urandom | base64"
            )
        self._secrets = secrets
        return self

    @model_validator(mode="after")
    def _issuers_that_can_be_told_apart(self) -> Self:
        if self.jwks and self.jwks_issuer in ("", self.token_issuer):
            raise ValueError(
                f"with {PREFIX}JWKS, {PREFIX}JWKS_ISSUER names who signs: what its tokens say in "
                f"iss, and not what {PREFIX}TOKEN_ISSUER says"
            )
        return self

    @model_validator(mode="after")
    def _two_who_can_be_told_apart(self) -> Self:
        if self.approval_above is not None and self.actors == "local":
            raise ValueError(
                f"with {PREFIX}APPROVAL_ABOVE a second identity must approve, and all callers are "
                f"one; set {PREFIX}ACTORS=proven as well, or {PREFIX}ACTORS=named behind a proxy "
                "that says who calls"
            )
        return self

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
        f"{PREFIX}{name.upper()}": _written(value)
        for name, value in settings.model_dump().items()
        if value is not None
    }


def unknown(names: Iterable[str]) -> dict[str, str]:
    """Variables that look like settings and are none, each with the setting that it may mean."""
    settings = {name.upper() for name in Settings.model_fields}
    ours = {name: name.upper().removeprefix(PREFIX) for name in names}
    return {
        name: next((f"{PREFIX}{near}" for near in get_close_matches(own, settings, n=1)), "")
        for name, own in ours.items()
        if own != name.upper() and own not in settings | OF_OTHERS
    }


def check_callers(settings: Settings, role: Role) -> None:
    """Raise SettingsInvalid for a server of jobs that others reach and that asks nobody who calls.

    And for one that asks and cannot check the answer. Coordinators and workers serve their
    health alone.
    """
    if not role.serves_callers:
        return
    can_check = bool(settings.token_secrets or settings.jwks)
    if settings.actors == "proven":
        if not can_check:
            raise SettingsInvalid(
                f"with {PREFIX}ACTORS=proven somebody must make the tokens: set "
                f"{PREFIX}TOKEN_SECRET_FILE for `countermand token`, or {PREFIX}JWKS for an "
                "identity provider"
            )
        return
    address = _address(settings.host)
    if address is not None and not address.is_loopback:
        raise SettingsInvalid(
            f"{settings.host} can be reached from other machines, and whoever calls would be let "
            f"in; set {PREFIX}ACTORS=proven, with {PREFIX}TOKEN_SECRET_FILE or {PREFIX}JWKS, or "
            "listen on 127.0.0.1"
        )
    if can_check:
        raise SettingsInvalid(
            f"there are keys for tokens, and nobody would be asked for one; set {PREFIX}ACTORS="
            f"proven, or unset {PREFIX}TOKEN_SECRET_FILE and {PREFIX}JWKS"
        )


def check_memory(settings: Settings) -> None:
    """Raise SettingsInvalid where a worker would be replaced before it takes no more work."""
    budget, most = settings.worker_memory_budget, settings.worker_memory
    if budget is not None and budget >= most:
        raise SettingsInvalid(
            f"{PREFIX}WORKER_MEMORY_BUDGET ({budget} MiB) must be less than {PREFIX}WORKER_MEMORY "
            f"({most} MiB), at which the process is replaced with all its work in flight; make it "
            "four fifths of that, or unset it"
        )


def check_broker(settings: Settings, role: Role) -> None:
    """Raise SettingsInvalid for a server that would leave aside the broker that is named.

    What it took up then would be under way elsewhere. And for one that speaks to it and cannot,
    for want of a file.
    """
    if role is not Role.SERVE:
        _ = settings.broker_address
    elif broker_address.parse(settings.broker).is_kafka:
        raise SettingsInvalid(
            f"{PREFIX}BROKER names Kafka, which `countermand serve` does not speak; start "
            "`countermand api`, `countermand coordinator` and `countermand worker` instead, or "
            f"unset {PREFIX}BROKER"
        )


def _written(value: Any) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


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

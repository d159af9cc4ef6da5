"""Every error that Countermand raises on purpose, in one tree.

::

    CountermandError
    ├── CommandRefused            the caller must change something; nothing was done
    │   ├── InvalidCommand        malformed or out of range
    │   │   ├── UnknownOperation
    │   │   ├── SelectionUnconfirmed
    │   │   ├── EditRefused       a rule of the records is in the way of a single edit
    │   │   ├── FileRefused       nothing of a file can be taken
    │   │   └── UnsupportedVersion
    │   ├── JobNotFound
    │   ├── RecordNotFound
    │   ├── RuleNotFound
    │   ├── WrongState            not possible in the job's present status
    │   ├── VersionMismatch       the job is not at the version that the caller has seen
    │   ├── ItemsArchived         what became of the job's items is in a file
    │   ├── FileUnfinished        the file of a job is not whole
    │   ├── FileGone              the file of a job was removed
    │   ├── NotReversible         the operation declares no undo
    │   ├── OwnJob                approval is a second identity's
    │   ├── PermissionLacking     somebody else may do this
    │   ├── RoleLacking           somebody else may do this in the project
    │   ├── KeyNotFound
    │   ├── WebhookNotFound
    │   ├── QuotaExceeded         the tenant has as much as it may
    │   ├── PlanChanged           what a dry run has seen is no longer so
    │   ├── PlanApplied           a dry run is applied once
    │   └── IdempotencyConflict   the same key with another body
    ├── CredentialRefused         nobody is known by this token or key
    ├── RecordRefused             a record breaks a constraint of its table
    ├── MessageUnreadable         goes to the dead-letter topic
    ├── PluginInvalid             an operation that cannot be registered
    ├── SettingsInvalid           at start: an option or a variable of the environment
    ├── DataDirectoryUnusable     at start: held, newer, damaged
    └── Unavailable               try again later
        ├── DecisionPending       no decision in time; repeating is safe
        ├── StoreUnavailable      locked, away or full
        ├── BrokerUnavailable     no broker answers, or not in time
        ├── IdentityUnavailable   the keys of the issuer of tokens cannot be had
        ├── RecordsOvertaken      a record was changed by others after it was read
        └── VersionConflict       somebody else appended first

Each carries a stable ``code``; its message says what is wrong and what to do.
"""

from __future__ import annotations

from typing import ClassVar, Self


class CountermandError(Exception):
    """Base of the tree: ``code`` is stable, ``pointer`` is a JSON pointer or empty."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, pointer: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.pointer = pointer


class CommandRefused(CountermandError):
    """The command was understood and refused; nothing was changed."""

    code = "refused"


class InvalidCommand(CommandRefused):
    """The command is malformed or out of range."""

    code = "invalid"


class UnknownOperation(InvalidCommand):
    """No operation of that kind is registered."""

    code = "unknown_operation"


class SelectionUnconfirmed(InvalidCommand):
    """A filter matches no record or all of them, and nobody has said that this is meant."""

    code = "selection_unconfirmed"


class EditRefused(InvalidCommand):
    """A rule of the records refuses what a single edit would make of them."""

    code = "edit_refused"


class FileRefused(InvalidCommand):
    """The file is not of its format, is damaged, or has nothing that can be taken."""

    code = "file_refused"


class UnsupportedVersion(InvalidCommand):
    """The message has a schema version that this release does not read."""

    code = "unsupported_version"


class JobNotFound(CommandRefused):
    """There is no such job for this tenant."""

    code = "job_not_found"

    @classmethod
    def of(cls, job_id: str) -> Self:
        """A job of others must be told in the very words of one that never was."""
        return cls(f"there is no job {job_id}; `countermand jobs` lists them")


class RecordNotFound(CommandRefused):
    """This tenant never had such a record."""

    code = "record_not_found"


class RuleNotFound(CommandRefused):
    """There is no such rule of retention."""

    code = "rule_not_found"


class WrongState(CommandRefused):
    """The job's status does not allow the command; the message names what it does allow."""

    code = "wrong_state"


class VersionMismatch(CommandRefused):
    """The job has gone on since the caller has seen it, and the caller minds."""

    code = "version_mismatch"


class ItemsArchived(CommandRefused):
    """What became of the items of a job is in its archive, which the message names."""

    code = "archived"


class FileUnfinished(CommandRefused):
    """There is no whole file yet, or none will come of what the job is; the message says which."""

    code = "file_unfinished"


class FileGone(CommandRefused):
    """The file was removed: its time is over, or what it was made of was destroyed."""

    code = "file_gone"


class NotReversible(CommandRefused):
    """The operation has neither before-images nor an inverse nor a compensation."""

    code = "not_reversible"


class OwnJob(CommandRefused):
    """Whoever has submitted a job neither approves nor rejects it."""

    code = "own_job"


class PermissionLacking(CommandRefused):
    """The caller is known and lacks ``permission``."""

    code = "permission_lacking"

    def __init__(self, message: str, *, pointer: str = "", permission: str = "") -> None:
        super().__init__(message, pointer=pointer)
        self.permission = permission


class RoleLacking(CommandRefused):
    """The caller takes part in the project, and has not the role that this takes."""

    code = "role_lacking"


class KeyNotFound(CommandRefused):
    """This tenant has no such API key."""

    code = "key_not_found"


class WebhookNotFound(CommandRefused):
    """This tenant has no such webhook."""

    code = "webhook_not_found"


class QuotaExceeded(CommandRefused):
    """The tenant has, or would have, more than it may; ``retry_after`` is when to try again."""

    code = "quota_exceeded"

    def __init__(self, message: str, *, pointer: str = "", retry_after: float = 60.0) -> None:
        super().__init__(message, pointer=pointer)
        self.retry_after = retry_after


class PlanChanged(CommandRefused):
    """A record that a dry run would change is not at the version that it has seen."""

    code = "plan_changed"


class PlanApplied(CommandRefused):
    """Another job does already what the dry run has planned."""

    code = "plan_applied"


class IdempotencyConflict(CommandRefused):
    """An idempotency key was used again with another body, or a job's id by another job."""

    code = "idempotency_conflict"

    @classmethod
    def of(cls, job_id: str) -> Self:
        """A job id that is another job's, whoever that one belongs to."""
        return cls(f"job id {job_id} is taken by another job; use a new id", pointer="/job_id")


class CredentialRefused(CountermandError):
    """A token or a key that proves nothing; ``reason`` is for the log, and may say more."""

    code = "unauthenticated"

    def __init__(self, message: str, *, pointer: str = "", reason: str = "") -> None:
        super().__init__(message, pointer=pointer)
        self.reason = reason or message


class RecordRefused(CountermandError):
    """The database does not take a record: unique, foreign key, too long, out of range.

    Nothing of the write that raised it was done. ``constraint`` names what is in the way,
    or is empty.
    """

    code = "record_refused"

    def __init__(self, message: str, *, constraint: str = "") -> None:
        super().__init__(message)
        self.constraint = constraint


class MessageUnreadable(CountermandError):
    """A message that cannot be parsed; it is kept on the dead-letter topic."""

    code = "unreadable"


class PluginInvalid(CountermandError):
    """An operation's declaration is wrong or its kind is taken."""

    code = "plugin_invalid"


class ResultInvalid(PluginInvalid):
    """What an operation says of one item is no result; its neighbours are not to blame."""


class SettingsInvalid(CountermandError):
    """A setting is wrong; the message names the option or the variable."""

    code = "settings"


class DataDirectoryUnusable(CountermandError):
    """The data directory is held by another process, newer than this release, or damaged."""

    code = "data_directory"


class Unavailable(CountermandError):
    """Nothing is wrong with the request; repeat it later."""

    code = "unavailable"


class DecisionPending(Unavailable):
    """The command was sent and not yet decided; repeating it with the same key is safe."""

    code = "decision_pending"


class StoreUnavailable(Unavailable):
    """The database is locked, away, or its disk is full."""

    code = "store_unavailable"


class BrokerUnavailable(Unavailable):
    """No broker answers, or not in time."""

    code = "broker_unavailable"


class IdentityUnavailable(Unavailable):
    """Tokens cannot be checked, so nobody is let in by one."""

    code = "identity_unavailable"


class RecordsOvertaken(Unavailable):
    """Somebody else changed a record after this transaction had read it; run it again."""

    code = "records_overtaken"


class VersionConflict(Unavailable):
    """Another process appended to the same job first; reload and decide again."""

    code = "version_conflict"

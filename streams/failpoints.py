"""Failpoints: named places where a test may kill the process. Off unless asked for.

``COUNTERMAND_FAILPOINT=after_claim:3`` sends SIGKILL to this process the third time it
gets there: no cleanup runs, no buffer is flushed, as when the machine takes it away.

Moments between which nothing is stored or sent are one place. After an acknowledgment comes the
next message's BEFORE_CLAIM or BEFORE_APPEND, after the before-images BEFORE_EFFECT_COMMIT, before
the chunk rows AFTER_APPEND, and before the outbox's save AFTER_OUTBOX_SEND.
"""

from __future__ import annotations

import os
import signal
from enum import StrEnum

from domain.errors import SettingsInvalid


class Failpoint(StrEnum):
    """Every place, in the order of the flow."""

    PAYLOAD_STORED = "payload_stored"
    RESERVED = "reserved"
    COMMAND_SENT = "command_sent"
    BEFORE_APPEND = "before_append"
    AFTER_APPEND = "after_append"
    AFTER_CHUNK_ROWS = "after_chunk_rows"
    BEFORE_DECISION = "before_decision"
    AFTER_DECISION = "after_decision"
    COORDINATOR_COMMITTED = "coordinator_committed"
    HEADS_SIGNED = "heads_signed"
    BEFORE_SNAPSHOT = "before_snapshot"
    AFTER_SNAPSHOT = "after_snapshot"
    BEFORE_DISPATCH_SEND = "before_dispatch_send"
    AFTER_DISPATCH_SEND = "after_dispatch_send"
    BEFORE_CLAIM = "before_claim"
    AFTER_CLAIM = "after_claim"
    BEFORE_HANDLER = "before_handler"
    AFTER_HANDLER = "after_handler"
    BEFORE_IMAGES = "before_images"
    BEFORE_EFFECT_COMMIT = "before_effect_commit"
    AFTER_EFFECT_COMMIT = "after_effect_commit"
    AFTER_PREPARE = "after_prepare"
    WITHIN_ATOMIC_COMMIT = "within_atomic_commit"
    BEFORE_ATOMIC_COMMIT = "before_atomic_commit"
    AFTER_ATOMIC_COMMIT = "after_atomic_commit"
    BEFORE_ITEM_RESULTS = "before_item_results"
    AFTER_ITEM_RESULTS = "after_item_results"
    BEFORE_COMPENSATION = "before_compensation"
    AFTER_COMPENSATION = "after_compensation"
    COMPENSATION_STORED = "compensation_stored"
    BEFORE_RESTORE = "before_restore"
    AFTER_RESTORE = "after_restore"
    BEFORE_UNDO_COMMIT = "before_undo_commit"
    AFTER_UNDO_COMMIT = "after_undo_commit"
    BEFORE_OUTCOME_SEND = "before_outcome_send"
    AFTER_OUTCOME_SEND = "after_outcome_send"
    BEFORE_ACK = "before_ack"
    BEFORE_OUTBOX_SEND = "before_outbox_send"
    AFTER_OUTBOX_SEND = "after_outbox_send"
    AFTER_OUTBOX_SAVE = "after_outbox_save"
    BEFORE_PROJECTION = "before_projection"
    BEFORE_WEBHOOK = "before_webhook"
    WEBHOOK_SENT = "webhook_sent"
    WEBHOOK_NOTED = "webhook_noted"
    BEFORE_ARCHIVE = "before_archive"
    ARCHIVE_WRITTEN = "archive_written"
    ARCHIVE_NAMED = "archive_named"
    WITHIN_CLEARING = "within_clearing"


class Failpoints:
    """Counts how often a place is reached; kills at the one that was asked for."""

    def __init__(self, wanted: str | None = None) -> None:
        """``wanted`` reads ``name`` or ``name:nth``; raises SettingsInvalid for another."""
        self._wanted: Failpoint | None = None
        self._left = 1
        if wanted:
            name, _, nth = wanted.partition(":")
            try:
                self._wanted, self._left = Failpoint(name), int(nth or 1)
            except ValueError:
                known = ", ".join(Failpoint)
                raise SettingsInvalid(
                    f"COUNTERMAND_FAILPOINT {wanted!r} must be NAME or NAME:NTH, of: {known}"
                ) from None

    def reach(self, place: Failpoint) -> None:
        """Die here, when this is the place and the time."""
        if place is not self._wanted:
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

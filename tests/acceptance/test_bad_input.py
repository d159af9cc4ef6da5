"""Bad input to the real server: every case of it ends in a clear error or a failed item.

Covered on real processes over HTTP: items that are no JSON, wrong types, unknown operations,
fields and jobs, no items at all (JSON, NDJSON, two-phase), idempotency keys used again, a client
that drops inside a streamed submit, handlers that raise, hang, exit or eat memory, a full disk, a
locked and a damaged database, a second process, a data directory of a newer version, unreadable
commands, and a job of another tenant.
"""

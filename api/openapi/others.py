"""Others: what is said of the routes for callers, keys, the installation and machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as PROMETHEUS
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS

from api import installation as sharing
from api import keys, messaging, retention
from api.models import Nothing
from api.openapi import installation as shown
from api.openapi.common import LIMIT, numbered
from api.openapi.telling import Answer, Body, Told, query
from domain.buckets import SharedLimit
from domain.retention import KnownRule

_RETENTION = "/api/v1/retention"
_OF_KEY = {name: {"key_id": "$response.body#/key_id"} for name in ("rotateKey", "revokeKey")}
_OF_RULE = {
    "removeRule": {"tenant": "$response.body#/tenant", "kind": "$response.body#/kind"},
}

_CALLERS: Mapping[tuple[str, str], Told] = {
    ("GET", "/api/v1/me"): Told(
        name="showMe",
        tag="Callers",
        answers={200: Answer(about="The caller.", model=shown.Me)},
    ),
    ("GET", keys.KEYS): Told(
        name="listKeys",
        tag="Callers",
        parameters=(
            query(
                "cursor",
                "The `next_cursor` of the page before.",
                {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            ),
            LIMIT,
        ),
        answers={200: Answer(about="A page.", model=shown.Keys)},
        problems=("keys_not_asked_for",),
    ),
    ("POST", keys.KEYS): Told(
        name="createKey",
        tag="Callers",
        body=Body(
            model=keys.WantedKey,
            required=True,
            examples={"importer": {"name": "importer", "roles": ["editor"]}},
        ),
        answers={
            201: Answer(
                about="The key, which is shown this once.",
                model=shown.ShownKey,
                located=True,
                links=_OF_KEY,
            )
        },
        problems=("keys_not_asked_for", "wrong_state"),
    ),
    ("POST", f"{keys.KEYS}/{{key_id}}/rotate"): Told(
        name="rotateKey",
        tag="Callers",
        body=Body(model=keys.Rotation, examples={"an hour": {"overlap": 3600}}),
        answers={
            200: Answer(
                about="The other secret, which is shown this once.",
                model=shown.ShownKey,
                links={"revokeKey": _OF_KEY["revokeKey"]},
            )
        },
        problems=("keys_not_asked_for", "key_not_found", "wrong_state"),
    ),
    ("POST", f"{keys.KEYS}/{{key_id}}/revoke"): Told(
        name="revokeKey",
        tag="Callers",
        body=Body(model=Nothing, examples={"nothing": {}}),
        answers={200: Answer(about="The key, which is refused from now on.", model=shown.Key)},
        problems=("keys_not_asked_for", "key_not_found", "wrong_state"),
    ),
}

_INSTALLATION: Mapping[tuple[str, str], Told] = {
    ("GET", "/api/v1/operations"): Told(
        name="listOperations",
        tag="Installation",
        answers={200: Answer(about="All of them.", model=shown.Operations)},
    ),
    ("GET", "/api/v1/workers"): Told(
        name="listWorkers",
        tag="Installation",
        answers={200: Answer(about="All of them.", model=shown.Workers)},
    ),
    ("GET", "/api/v1/tenants"): Told(
        name="listWeights",
        tag="Installation",
        answers={200: Answer(about="All of them.", model=shown.Weights)},
    ),
    ("POST", "/api/v1/tenants/{tenant}"): Told(
        name="setWeight",
        tag="Installation",
        body=Body(model=sharing.Share, required=True, examples={"three": {"weight": 3}}),
        answers={200: Answer(about="The share from now on.", model=shown.Weight)},
    ),
    ("GET", "/api/v1/limits"): Told(
        name="listLimits",
        tag="Installation",
        answers={200: Answer(about="All of them.", model=shown.LimitsInForce)},
    ),
    ("POST", "/api/v1/limits/{name}"): Told(
        name="setLimit",
        tag="Installation",
        body=Body(
            model=SharedLimit,
            required=True,
            examples={"slow": {"rate": 10, "concurrency": 4}, "without": {"lift": ["rate"]}},
        ),
        answers={200: Answer(about="The limits from now on.", model=shown.LimitInForce)},
    ),
    ("GET", messaging.PARTITIONS): Told(
        name="listPartitions",
        tag="Installation",
        answers={200: Answer(about="All of them.", model=shown.Partitions)},
    ),
    ("GET", messaging.LETTERS): Told(
        name="listLetters",
        tag="Installation",
        answers={200: Answer(about="All of them, in groups.", model=shown.LetterGroups)},
    ),
    ("POST", "/api/v1/letters/{code}/redrive"): Told(
        name="redriveLetters",
        tag="Installation",
        body=Body(model=Nothing, examples={"nothing": {}}),
        answers={200: Answer(about="What was sent.", model=shown.Redriven)},
    ),
    ("GET", _RETENTION): Told(
        name="listRules",
        tag="Retention",
        answers={200: Answer(about="All of them.", model=shown.Rules)},
    ),
    ("POST", _RETENTION): Told(
        name="setRule",
        tag="Retention",
        body=Body(
            model=retention.Keeping,
            required=True,
            examples={
                "a quarter": {
                    "kind": "annotations.*",
                    "shred_after": 7_776_000,
                    "reason": "the new policy",
                },
                "for ever": {"kind": "annotations.delete_labels", "keep": True},
            },
        ),
        answers={200: Answer(about="The rule from now on.", model=KnownRule, links=_OF_RULE)},
    ),
    ("DELETE", f"{_RETENTION}/{{tenant}}/{{kind}}"): Told(
        name="removeRule",
        tag="Retention",
        parameters=(
            query("reason", "Why, for the list of changes.", {"type": "string", "maxLength": 2000}),
        ),
        answers={200: Answer(about="There is no such rule any more.", model=shown.Removed)},
        problems=("rule_not_found", "invalid", "unsupported_media_type"),
    ),
    ("GET", f"{_RETENTION}/changes"): Told(
        name="listRuleChanges",
        tag="Retention",
        parameters=(numbered(), LIMIT),
        answers={200: Answer(about="A page.", model=shown.RuleChanges)},
    ),
}

OTHERS: Final[Mapping[tuple[str, str], Told]] = {
    **_CALLERS,
    **_INSTALLATION,
    ("GET", "/health/live"): Told(
        name="isAlive",
        tag="Machines",
        answers={200: Answer(about="It lives.", model=shown.Alive)},
    ),
    ("GET", "/health/ready"): Told(
        name="isReady",
        tag="Machines",
        answers={200: Answer(about="It takes work.", model=shown.Ready)},
        problems=("not_ready", "unavailable", "store_unavailable", "broker_unavailable"),
    ),
    ("GET", "/metrics"): Told(
        name="metrics",
        tag="Machines",
        answers={
            200: Answer(
                about="What was counted, in the text format of Prometheus, or as OpenMetrics.",
                others={
                    PROMETHEUS: "countermand_ready 1.0\n",
                    OPENMETRICS: "countermand_ready 1.0\n# EOF\n",
                },
            )
        },
    ),
    **{
        ("GET", path): Told(
            name=name, tag="Pages", answers={200: Answer(about=about, others={kind: example})}
        )
        for path, name, about, kind, example in (
            ("/", "dashboard", "The page.", "text/html", "<!doctype html>"),
            ("/docs", "docs", "The page.", "text/html", "<!doctype html>"),
            ("/docs/style.css", "style", "The style sheet.", "text/css", "main {}"),
            ("/problems", "problems", "The page.", "text/html", "<!doctype html>"),
        )
    },
    ("GET", "/dashboard/{digest}/{path}"): Told(
        name="dashboardFile",
        tag="Pages",
        answers={
            200: Answer(
                about="The file, which never changes.",
                others={
                    "text/javascript": "export {};",
                    "text/css": "main {}",
                    "image/svg+xml": "<svg/>",
                },
            )
        },
    ),
    ("GET", "/api/v1/openapi.json"): Told(
        name="openapi",
        tag="Machines",
        answers={
            200: Answer(
                about="This document.",
                others={"application/json": '{"openapi": "3.1.0"}'},
            )
        },
    ),
}

"""The rules that every project has, by layer. Those of a project are in :mod:`.custom`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from domain.systems.annotations.validation.issues import Layer, Rule, Severity


def _rule(rule: str, layer: Layer, severity: Severity, description: str) -> Rule:
    return Rule(rule, layer, severity, description)


SCHEMA = Rule("schema", Layer.SCHEMA, Severity.ERROR, "fields are there, of their type, in range")

TEXT_NOT_FOUND = Rule(
    "text_not_found", Layer.BUSINESS, Severity.ERROR, "the text is the project's", retryable=True
)
LABEL_NOT_FOUND = Rule(
    "label_not_found", Layer.BUSINESS, Severity.ERROR, "the label is the project's", retryable=True
)
LABEL_NAMED_TWICE = Rule(
    "invalid", Layer.BUSINESS, Severity.ERROR, "the label is named by id or by name, one of them"
)
SPAN_OUT_OF_RANGE = _rule(
    "span_out_of_range", Layer.BUSINESS, Severity.ERROR, "0 <= start_char < end_char <= length"
)
SPAN_TOO_LONG = _rule(
    "span_too_long", Layer.BUSINESS, Severity.ERROR, "a new span is <= 100,000 characters"
)
TOO_MUCH_TEXT = Rule(
    "too_much_text",
    Layer.BUSINESS,
    Severity.ERROR,
    "the spans of a chunk are <= 10,000,000 characters together",
    retryable=True,
)
SPLIT_CHARACTER = _rule(
    "split_character", Layer.BUSINESS, Severity.ERROR, "UTF-16 offsets are between characters"
)
TEXT_MISMATCH = _rule(
    "text_mismatch", Layer.BUSINESS, Severity.ERROR, "selected_text is what the span has"
)

BLANK_SPAN = _rule("blank_span", Layer.QUALITY, Severity.WARNING, "a span is more than white space")
UNTRIMMED_SPAN = _rule(
    "untrimmed_span", Layer.QUALITY, Severity.WARNING, "no white space at the ends of a span"
)
CUT_WORD = _rule("cut_word", Layer.QUALITY, Severity.WARNING, "a span ends where a word does")
LOW_CONFIDENCE = _rule(
    "low_confidence", Layer.QUALITY, Severity.WARNING, "confidence_score >= min_confidence"
)
LONG_SPAN = _rule("long_span", Layer.QUALITY, Severity.WARNING, "a span is <= max_span characters")

DUPLICATE = _rule(
    "duplicate", Layer.CONSISTENCY, Severity.WARNING, "a span has a label once in its text"
)
OVERLAP = _rule(
    "overlap", Layer.CONSISTENCY, Severity.ERROR, "no two spans overlap where overlaps are refused"
)
LABELS_DIFFER = _rule(
    "labels_differ", Layer.CONSISTENCY, Severity.INFO, "the same words have the same label"
)

TOO_MANY_RULES = Rule(
    "too_many_rules",
    Layer.CUSTOM,
    Severity.ERROR,
    "a project has <= 100 rules that are enabled",
    retryable=True,
)
RULE_NOT_APPLIED = Rule(
    "rule_not_applied",
    Layer.CUSTOM,
    Severity.ERROR,
    "patterns and expressions of a project have the time that they need",
    retryable=True,
)
"""As grave as the rule that was not applied."""

BUSINESS_RULES = (
    *(TEXT_NOT_FOUND, LABEL_NOT_FOUND, LABEL_NAMED_TWICE, SPAN_OUT_OF_RANGE, TEXT_MISMATCH),
    *(SPLIT_CHARACTER, SPAN_TOO_LONG, TOO_MUCH_TEXT),
)
ADJUSTABLE = (
    *(BLANK_SPAN, UNTRIMMED_SPAN, CUT_WORD, LOW_CONFIDENCE, LONG_SPAN, DUPLICATE, LABELS_DIFFER),
)
"""Rules whose severity a project may change, or that it may switch off."""

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.id: rule
        for rule in (
            *(SCHEMA, *BUSINESS_RULES, *ADJUSTABLE),
            *(OVERLAP, TOO_MANY_RULES, RULE_NOT_APPLIED),
        )
    }
)
"""All rules of ours by id, each with its severity where no project says otherwise."""

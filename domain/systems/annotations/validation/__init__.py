"""Validation: five layers of rules over annotations, all issues at once, set by set.

``issues`` is what a rule says and what that makes of a score, ``catalogue`` the rules that
every project has, ``thresholds`` what a project demands, ``definitions`` its own rules;
``spans``, ``consistency``, ``own_rules`` and ``uniqueness`` apply them, and ``examination``
puts all of it together.
"""

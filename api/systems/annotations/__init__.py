"""Annotations: projects and their records one by one, bulk operations, and live progress.

``records`` and ``projects`` are plain CRUD; pages have ``limit``, ``offset`` and a ``total``.
``reports`` are documents, or tables for a spreadsheet.
"""

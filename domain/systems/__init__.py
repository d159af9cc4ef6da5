"""Systems: one package for each target system; none imports another.

A system brings its tables, its item models and its operations. These packages alone in
``domain`` may name SQLAlchemy's schema objects and expressions; they open nothing.
"""

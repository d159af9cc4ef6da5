"""Has Kafka start in half the time, with its classes as Java had them in memory at an earlier end.

`python -m tests.services.kafka_classes` puts them into a file beside the jars. Without it, and
with one that another Java has made, Kafka starts all the same.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tests.services.kafka_jars import jars_folder


def archive() -> Path:
    """Where the classes are kept."""
    return jars_folder() / "classes.jsa"


def options() -> tuple[str, ...]:
    """What Java is told of the file, when it is there."""
    return (f"-XX:SharedArchiveFile={archive()}",) if archive().exists() else ()


def keep() -> bool:
    """Start a broker and end it in order, which is when Java writes the file; not all can."""
    from tests.services.kafka import running_kafka

    draft = archive().with_suffix(f".{os.getpid()}")
    # An option of the command line would be one for all who start brokers.
    os.environ["JAVA_TOOL_OPTIONS"] = f"-XX:ArchiveClassesAtExit={draft}"
    try:
        with running_kafka() as cluster:
            cluster.stop()
    finally:
        del os.environ["JAVA_TOOL_OPTIONS"]
    with contextlib.suppress(FileNotFoundError):
        draft.replace(archive())
    return archive().exists()


if __name__ == "__main__":
    print(archive() if options() or keep() else "this Java keeps no classes; Kafka starts as ever")

"""Where the jars of Apache Kafka are, and how they get there.

Standard library only, as tests/services/catalogue.py is; `tools/kafka` is the command.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

FOLDER_VARIABLE: Final = "COUNTERMAND_KAFKA_JARS"
"""Names another folder of jars than the one in the user's cache."""
OLDEST_JAVA: Final = 17

_POM: Final = Path(__file__).with_name("kafka-pom.xml")
_FETCH_SECONDS: Final = 600


class KafkaNotFetched(RuntimeError):
    """Maven did not bring the jars; the message ends with what it said."""


def kafka_version() -> str:
    """The release that the tests run on, which the pom alone names."""
    found = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", _POM.read_text())
    if found is None:
        raise KafkaNotFetched(f"{_POM} names no kafka version")
    return found[1]


def jars_folder() -> Path:
    """Where the jars belong."""
    override = os.environ.get(FOLDER_VARIABLE)
    if override:
        return Path(override)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "countermand" / f"kafka-{kafka_version()}"


def have_jars() -> bool:
    """Whether there is anything to start; a folder appears only when it is complete."""
    return any(jars_folder().glob("kafka_*.jar"))


def find_java() -> Path | None:
    """A `java` that is recent enough, that of JAVA_HOME before that of PATH."""
    home = os.environ.get("JAVA_HOME")
    candidates = [shutil.which("java", path=f"{home}/bin") if home else None, shutil.which("java")]
    return next((Path(java) for java in candidates if java and _is_recent(java)), None)


def find_kafka() -> Path | None:
    """The folder of the jars, if they are there or can be fetched, and Java can run them."""
    can_have = have_jars() or shutil.which("mvn") is not None
    return jars_folder() if can_have and find_java() is not None else None


def fetch() -> Path:
    """Have Maven fetch the jars unless they are here; several processes may do so at once."""
    folder = jars_folder()
    if have_jars():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaNotFetched("no Maven on this machine; on Debian: apt-get install maven")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        fetched = Path(scratch, "jars")
        _copy_dependencies(maven, fetched)
        # Complete or not there at all; whoever came first has the very same files.
        try:
            fetched.rename(folder)
        except OSError:
            if not have_jars():
                raise
    return folder


def _copy_dependencies(maven: str, target: Path) -> None:
    options = ["-q", "-B", "-f", str(_POM), "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    run = subprocess.run(
        [maven, *options, "dependency:copy-dependencies"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_FETCH_SECONDS,
        check=False,
    )
    if run.returncode != 0:
        tail = "\n".join(run.stdout.splitlines()[-20:])
        raise KafkaNotFetched(f"Maven could not fetch Kafka {kafka_version()}:\n{tail}")


@functools.cache
def _is_recent(java: str) -> bool:
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', answer.stderr)
    return found is not None and int(found[1]) >= OLDEST_JAVA

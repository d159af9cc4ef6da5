"""Defaults that the settings and the command line's help both name. Imports next to nothing."""

from typing import Final

DATA_DIR: Final = "data"
HOST: Final = "127.0.0.1"
PORT: Final = 8080
WORKER_MEMORY: Final = 1024
"""Resident memory, in MiB, above which the engine's process is replaced."""
SLOTS: Final = 1
PARTITIONS: Final = 4
LOG_LEVEL: Final = "info"
ISSUER: Final = "countermand"
AUDIENCE: Final = "countermand"
RATE_LIMIT: Final = "1200/minute"
RATE_FAILURES: Final = "30/minute"

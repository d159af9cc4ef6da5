"""The peers: which module of ours knows each, and how its users start two workers."""

from __future__ import annotations

from benchmarks.peers.running import Peer

HUEY = Peer(
    "Huey",
    broker="SQLite",
    module="huey_sqlite",
    packages=("huey",),
    worker=("-m", "benchmarks.peers.huey_sqlite"),
)
CELERY = Peer(
    "Celery",
    broker="Redis",
    module="celery_redis",
    packages=("celery", "redis"),
    worker=(
        *("-m", "celery", "--app", "benchmarks.peers.celery_redis", "worker"),
        *("--concurrency", "2"),
    ),
)
DRAMATIQ = Peer(
    "Dramatiq",
    broker="Redis",
    module="dramatiq_redis",
    packages=("dramatiq", "redis"),
    worker=(
        *("-m", "dramatiq", "benchmarks.peers.dramatiq_redis"),
        *("--processes", "2", "--threads", "1"),
    ),
)
TASKIQ = Peer(
    "taskiq",
    broker="Redis",
    module="taskiq_redis",
    packages=("taskiq", "taskiq_redis"),
    worker=(
        *("-m", "taskiq", "worker", "benchmarks.peers.taskiq_redis:broker"),
        *("--workers", "2", "--max-threadpool-threads", "1"),
    ),
)
PROCRASTINATE = Peer(
    "procrastinate",
    broker="PostgreSQL",
    module="procrastinate_postgres",
    packages=("procrastinate",),
    prepare=(
        *("-m", "procrastinate", "--app", "benchmarks.peers.procrastinate_postgres.app"),
        *("schema", "--apply"),
    ),
    worker=(
        *("-m", "procrastinate", "--app", "benchmarks.peers.procrastinate_postgres.app"),
        *("worker", "--concurrency", "1"),
    ),
    processes=2,
)
ON_REDIS = (CELERY, DRAMATIQ, TASKIQ)

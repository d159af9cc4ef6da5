"""The commands of docker-compose.yml, run as processes against a real Kafka and PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tests.acceptance.commands import asked, environment
from tests.deploy.compose import lasting, ours, read, seconds
from tests.services.kafka import KafkaCluster

LAUNCHER = Path(__file__).parents[1] / "services" / "launch.py"
START_SECONDS = 90.0
ITEM = '{"name": "composed"}\n'


@dataclass
class Part:
    """A process that a service of the file would be, at addresses of this machine."""

    name: str
    service: Mapping[str, Any]
    command: Sequence[str]
    variables: Mapping[str, str]
    log: Path

    @property
    def url(self) -> str:
        return self.variables["COUNTERMAND_URL"]

    def start(self) -> subprocess.Popen[bytes]:
        """Start it; the kernel ends it when the test run dies."""
        numbers = (os.getpid(), int(signal.SIGKILL), os.geteuid(), os.getegid())
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), *map(str, numbers)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*launcher, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.log.parent,
                env=environment(**self.variables),
                start_new_session=True,
            )

    def is_healthy(self) -> bool:
        """Whether the health check of the file says so."""
        kind, program, *arguments = self.service["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "countermand")
        return asked(*arguments, **self.variables).returncode == 0


class Moved:
    """What the file says, at the addresses of this machine."""

    def __init__(self, folder: Path, kafka: KafkaCluster, database: str) -> None:
        self._folder = folder
        place = make_url(database)
        password = folder / "password"
        password.write_text("any: this server trusts the loopback address\n")
        secret = folder / "secret"
        secret.write_text("s" * 48)
        key = folder / "key"
        key.write_text("5f" * 32)
        self._places = {
            "kafka:9092": kafka.bootstrap,
            "@postgres/countermand": f"@{place.host}:{place.port}/{place.database}",
            "/run/secrets/database_password": str(password),
            "/run/secrets/engine_password": str(password),
            "/run/secrets/token_secret": str(secret),
            "/run/secrets/payload_key": str(key),
            "0.0.0.0": "127.0.0.1",
        }

    def part(self, name: str, service: Mapping[str, Any]) -> Part:
        port = str(_free_port())
        program = str(Path(sys.executable).with_name("countermand"))
        given = {key: self._moved(value) for key, value in service["environment"].items()}
        return Part(
            name=name,
            service=service,
            command=[
                program,
                *(port if word == "8080" else self._moved(word) for word in service["command"]),
            ],
            # The image sets the one, and its health is asked for at the port that we moved.
            variables={
                **given,
                "COUNTERMAND_DATA_DIR": str(self._folder / name),
                "COUNTERMAND_URL": f"http://127.0.0.1:{port}",
            },
            log=self._folder / f"{name}.log",
        )

    def _moved(self, text: str) -> str:
        for written, here in self._places.items():
            text = text.replace(written, here)
        return text


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextlib.contextmanager
def running(parts: Sequence[Part]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """All of them started at once, and ended for certain."""
    with contextlib.ExitStack() as stack:
        processes = []
        for part in parts:
            process = part.start()
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
        yield processes


def wait_healthy(part: Part, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not part.is_healthy():
        assert process.poll() is None, part.log.read_text()
        assert time.monotonic() < deadline, part.log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_service_runs_as_it_is_written(
    kafka: KafkaCluster, postgres_database: str, tmp_path: Path
) -> None:
    document = read()
    moved = Moved(tmp_path, kafka, postgres_database)
    lasts = lasting(document)
    once = [moved.part(name, s) for name, s in ours(document).items() if name not in lasts]
    parts = [
        moved.part(f"{name}-{number}", service)
        for name, service in lasts.items()
        for number in range(service.get("scale", 1))
    ]

    for part in once:
        assert part.start().wait(START_SECONDS) == 0, part.log.read_text()
    with running(parts) as processes:
        for part, process in zip(parts, processes, strict=True):
            wait_healthy(part, process)

        (api,) = [part for part in parts if part.command[1] == "api"]
        for part in parts:
            with urllib.request.urlopen(f"{part.url}/metrics", timeout=START_SECONDS) as counted:
                role = f'countermand_process_info{{role="{part.command[1]}"}} 1.0'
                assert role in counted.read().decode(), "an alert is on its absence"
            place = ("--database", part.variables["COUNTERMAND_DATABASE"])
            assert '"adds_only":true' in asked("db", "check", *place, "--json").stdout
        items = tmp_path / "items.ndjson"
        items.write_text(ITEM)
        submit = ("submit", "annotations.create_projects", str(items), "--json")
        assert "Unauthorized" in asked(*submit, COUNTERMAND_URL=api.url).stderr
        token = asked(
            *("token", "ada", "--tenant", "acme", "--role", "editor"), **api.variables
        ).stdout.strip()
        known = {"COUNTERMAND_URL": api.url, "COUNTERMAND_TOKEN": token}
        submitted = asked(*submit, **known)
        assert submitted.returncode == 0, submitted.stderr
        job_id = json.loads(submitted.stdout)["job_id"]
        watched = asked("watch", job_id, **known)
        assert watched.returncode == 0, watched.stderr
        assert "completed 100.0 % | 1 succeeded" in watched.stdout

        # As the next release's are, beside the processes, when there is something sealed.
        for part in once:
            assert part.start().wait(START_SECONDS) == 0, part.log.read_text()
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for part, process in zip(parts, processes, strict=True):
            patience = seconds(part.service["stop_grace_period"])
            assert process.wait(patience) == 0, part.log.read_text()

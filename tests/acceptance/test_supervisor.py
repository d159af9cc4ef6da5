from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from streams.process_lock import acquire
from streams.supervisor import LOOK_EVERY, Restarts, Silence, descendants, url_of
from tests.acceptance.commands import Service as Server
from tests.acceptance.commands import wait_ready
from tests.acceptance.supervised_echo import TIMES_AWAY, start

pytestmark = pytest.mark.crash
PATIENCE = 20.0
SILENCE = 4.0
"""Seconds that a child may be silent; it says something each second."""


class Service:
    """A running supervisor: asks its child one word a connection."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        url = urlsplit(process.stdout.readline().strip())
        self.address = (url.hostname, url.port)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=PATIENCE)

    def ask(self, word: str) -> str:
        with self.connect() as connection:
            connection.sendall(f"{word}\n".encode())
            with connection.makefile() as answer:
                return answer.readline().strip()

    def end(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@contextmanager
def _service(directory: Path, **options: object) -> Iterator[Service]:
    with start(directory, **options) as process:
        try:
            yield Service(process)
        finally:
            if process.poll() is None:
                process.terminate()
                process.kill()


def _gone(pid: int) -> bool:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def _starts(directory: Path) -> int:
    return len((directory / "starts").read_text().splitlines())


def test_a_term_drains_and_ends_well(tmp_path: Path) -> None:
    with _service(tmp_path) as service:
        assert int(service.ask("pid")) != service.process.pid
        service.process.send_signal(signal.SIGTERM)

        assert service.end() == (0, "")
    assert (tmp_path / "drained").exists()
    acquire(tmp_path).release()


@pytest.mark.parametrize("word", ["exit", "kill"])
def test_a_child_that_ends_is_replaced_and_nobody_is_turned_away(tmp_path: Path, word: str) -> None:
    with _service(tmp_path) as service:
        first = int(service.ask("pid"))
        if word == "kill":
            os.kill(first, signal.SIGKILL)
        else:
            assert service.ask("exit") == ""
        assert _gone(first)
        # Nobody serves at this moment, and the socket takes the connection all the same.
        second = int(service.ask("pid"))

        assert second != first
        service.process.send_signal(signal.SIGINT)
        code, said = service.end()
    assert code == 0
    assert f"the engine (process {first}) ended: " in said
    assert "starting it again" in said
    assert _starts(tmp_path) == 2


def test_what_is_said_of_an_engine_that_died_is_a_line_of_the_log_like_any_other(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path / "log", "serve", "--data-dir", str(tmp_path / "data"))
    server.start()
    try:
        wait_ready(server, time.monotonic() + PATIENCE)
        first = server.engine
        first.kill()
        until = time.monotonic() + PATIENCE
        while "starting it again" not in server.log.read_text():
            assert time.monotonic() < until, server.log.read_text()
            time.sleep(0.05)
    finally:
        code = server.stop()

    assert code == 0
    entries = [json.loads(line) for line in server.log.read_text().splitlines()]
    (said,) = [entry for entry in entries if entry["event"] == "supervised"]
    assert said["reason"].startswith(f"the engine (process {first.pid}) ended: signal SIGKILL")
    assert said["level"] == "warning"
    assert said.keys() == {"event", "level", "reason", "timestamp"}


def test_all_that_descend_from_a_process_are_found() -> None:
    # One that a thread has started, which has started one.
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        started.append(subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE))

    # The children of a thread that has ended are those of another one.
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    with started[0] as child:
        until = time.monotonic() + PATIENCE
        while len(found := descendants(child.pid)) < 1:
            assert time.monotonic() < until
        assert found == {one.pid for one in psutil.Process(child.pid).children(recursive=True)}
        assert descendants(os.getpid()) >= {child.pid, *found}
        child.communicate(b"\n")
    assert descendants(child.pid) == set()


def test_a_child_above_its_memory_limit_is_replaced(tmp_path: Path) -> None:
    with _service(tmp_path, memory=200) as service:
        first = int(service.ask("eat"))
        assert _gone(first)

        assert int(service.ask("pid")) != first
        service.process.send_signal(signal.SIGTERM)
        code, said = service.end()
    assert code == 0
    assert "more than 200 MiB; starting it again" in said


def test_what_a_child_started_ends_with_it(tmp_path: Path) -> None:
    with _service(tmp_path) as service:
        spawned = int(service.ask("spawn"))
        service.ask("exit")

        assert _gone(spawned)


def test_who_has_outlived_their_parent_is_buried_by_the_first_process(tmp_path: Path) -> None:
    with _service(tmp_path) as service:
        orphan = int(service.ask("orphan"))
        until = time.monotonic() + PATIENCE
        while psutil.pid_exists(orphan):
            assert time.monotonic() < until, psutil.Process(orphan)
            time.sleep(0.05)

        service.process.send_signal(signal.SIGTERM)
        assert service.end() == (0, "")


def test_a_child_that_does_not_drain_is_killed(tmp_path: Path) -> None:
    with _service(tmp_path, child="stubborn", drain=0.2) as service:
        child = int(service.ask("pid"))
        service.process.send_signal(signal.SIGTERM)
        code, said = service.end()

    assert code == 1
    assert "did not end within 0.2 s. Nothing is lost" in said
    assert _gone(child)


def test_a_second_signal_does_not_wait_for_the_drain(tmp_path: Path) -> None:
    with _service(tmp_path, child="stubborn") as service:
        child = int(service.ask("pid"))
        service.process.send_signal(signal.SIGINT)
        service.process.send_signal(signal.SIGTERM)
        code, said = service.end()

    assert code == 1
    assert "a second time" in said
    assert _gone(child)


def test_a_child_whose_event_loop_stands_still_is_replaced(tmp_path: Path) -> None:
    with _service(tmp_path, silence=SILENCE) as service:
        first = int(service.ask("pid"))
        with service.connect() as blocked:
            blocked.sendall(b"block\n")
            assert _gone(first)

        assert int(service.ask("pid")) != first
        service.process.send_signal(signal.SIGTERM)
        code, said = service.end()
    assert code == 0
    assert f"the engine (process {first}) ended: its event loop stood still for 4 s; " in said
    assert "waits without `await`" in said
    assert said.endswith("starting it again\n")


def test_a_child_whose_event_loop_stands_still_does_not_drain_for_ever(tmp_path: Path) -> None:
    with _service(tmp_path, child="stubborn", silence=SILENCE, drain=600) as service:
        child = int(service.ask("pid"))
        service.process.send_signal(signal.SIGTERM)
        code, said = service.end()

    assert code == 1
    assert said.startswith("stopped hard: its event loop stood still for 4 s; ")
    assert _gone(child)


def test_who_was_suspended_together_goes_on_together(tmp_path: Path) -> None:
    with _service(tmp_path, silence=SILENCE) as service:
        child, parent = int(service.ask("pid")), service.process.pid
        for stopped in (parent, child):
            os.kill(stopped, signal.SIGSTOP)
        time.sleep(SILENCE + 0.5)
        os.kill(parent, signal.SIGCONT)
        # It has looked before the other one can say anything.
        time.sleep(2 * LOOK_EVERY)
        os.kill(child, signal.SIGCONT)

        assert int(service.ask("pid")) == child
        service.process.send_signal(signal.SIGTERM)
        assert service.end() == (0, "")


def test_work_in_flight_ends_however_often_its_process_is_told_to_end(tmp_path: Path) -> None:
    with _service(tmp_path, child="told-again") as service:
        service.ask("pid")
        service.process.send_signal(signal.SIGTERM)

        assert service.end() == (0, "")
    assert (tmp_path / "drained").exists()


@pytest.mark.parametrize("doing", ["idle", "block"])
def test_a_child_ends_with_its_parent_and_frees_the_lock(tmp_path: Path, doing: str) -> None:
    with _service(tmp_path) as service:
        child = int(service.ask("pid"))
        busy = service.connect()
        busy.sendall(f"{doing}\n".encode())
        service.process.kill()
        service.process.wait()

        assert _gone(child)
        busy.close()
    acquire(tmp_path).release()


def test_a_wrong_configuration_is_not_tried_again(tmp_path: Path) -> None:
    with start(tmp_path, child="78") as process:
        output, said = process.communicate(timeout=PATIENCE)

    assert (process.returncode, output, said) == (2, "", "")
    assert _starts(tmp_path) == 1


def test_a_child_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    with start(tmp_path, child="3") as process:
        output, said = process.communicate(timeout=PATIENCE)

    assert (process.returncode, output) == (1, "")
    assert "exit code 3; giving up" in said
    assert _starts(tmp_path) == 2


def test_a_child_that_lacks_what_is_away_is_never_given_up(tmp_path: Path) -> None:
    with _service(tmp_path, child="once-away") as service:
        service.ask("pid")
        service.process.send_signal(signal.SIGTERM)
        code, said = service.end()

    assert code == 0
    assert _starts(tmp_path) == TIMES_AWAY + 1
    assert said.count("what it needs is away") == len(said.splitlines()) == 1


def test_a_child_that_hangs_while_it_starts_is_replaced(tmp_path: Path) -> None:
    with start(tmp_path, child="never-ready", start=0.1) as process:
        _, said = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    assert said.count("it was not ready after 0.1 s") == 2


def test_a_signal_between_two_lives_ends_the_service(tmp_path: Path) -> None:
    with start(tmp_path, child="3") as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)

        assert process.wait(PATIENCE) == 0
    assert _starts(tmp_path) == 1


class TestSilence:
    def test_it_is_counted_until_something_is_said(self) -> None:
        silence = Silence(100.0)

        for tenths in range(1, 31):
            silence.look(100.0 + tenths / 10, heard=False)
        assert silence.seconds == pytest.approx(3.0)

        silence.look(103.1, heard=True)
        assert silence.seconds == 0.0

    def test_a_look_after_an_hour_is_one_look(self) -> None:
        silence = Silence(100.0)

        silence.look(3700.0, heard=False)
        silence.look(3700.1, heard=False)

        assert silence.seconds == pytest.approx(LOOK_EVERY + 0.1)


class TestRestarts:
    def test_what_is_away_is_waited_for_without_an_end(self) -> None:
        restarts = Restarts(early_limit=2, quick_limit=2)

        waits = [restarts.delay_while_away(lived=1.0) for _ in range(10_000)]

        assert waits == sorted(waits)
        assert waits[0] < 1.0
        assert waits[-1] == 5.0

    def test_what_is_away_neither_counts_as_a_death_nor_forgives_one(self) -> None:
        restarts = Restarts(early_limit=2)

        assert restarts.delay(was_ready=False, lived=0.1) is not None
        restarts.delay_while_away(lived=1.0)

        assert restarts.delay(was_ready=False, lived=0.1) is None

    def test_what_was_there_for_long_is_looked_for_at_once(self) -> None:
        restarts = Restarts()
        for _ in range(10):
            restarts.delay_while_away(lived=1.0)

        assert restarts.delay_while_away(lived=60.0) < 1.0

    def test_the_first_restart_is_at_once(self) -> None:
        assert Restarts().delay(was_ready=True, lived=100.0) == pytest.approx(0.05)

    def test_early_deaths_wait_longer_each_time_and_are_given_up(self) -> None:
        restarts = Restarts()

        delays = [restarts.delay(was_ready=False, lived=0.1) for _ in range(5)]

        assert delays[-1] is None
        waits = [delay for delay in delays if delay is not None]
        assert waits == sorted(set(waits))

    def test_being_ready_forgives_early_deaths(self) -> None:
        restarts = Restarts(early_limit=2)

        for _ in range(10):
            assert restarts.delay(was_ready=False, lived=0.1) is not None
            assert restarts.delay(was_ready=True, lived=0.1) is not None

    def test_many_quick_deaths_are_allowed_and_end_some_day(self) -> None:
        restarts = Restarts()

        delays = [restarts.delay(was_ready=True, lived=0.5) for _ in range(1000)]

        assert None not in delays[:-1]
        assert max(delay for delay in delays if delay is not None) <= 1.0
        assert delays[-1] is None

    def test_a_long_life_forgives_quick_deaths(self) -> None:
        restarts = Restarts(quick_limit=2)

        for _ in range(10):
            assert restarts.delay(was_ready=True, lived=0.5) is not None
            assert restarts.delay(was_ready=True, lived=60.0) is not None


@pytest.mark.parametrize(
    ("family", "host", "url"),
    [
        (socket.AF_INET, "127.0.0.1", "http://127.0.0.1:"),
        (socket.AF_INET, "0.0.0.0", "http://127.0.0.1:"),
        (socket.AF_INET6, "::1", "http://[::1]:"),
        (socket.AF_INET6, "::", "http://[::1]:"),
    ],
)
def test_the_address_that_is_printed_can_be_typed_in(
    family: socket.AddressFamily, host: str, url: str
) -> None:
    with socket.socket(family) as bound:
        bound.bind((host, 0))

        assert url_of(bound) == f"{url}{bound.getsockname()[1]}"

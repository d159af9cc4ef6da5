"""A small program in the engine's place: obeys one word a connection.

python supervised_echo.py serve DIRECTORY [--memory MIB] [--drain S] [--silence S] [--child MODE]
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from streams.process_lock import acquire
from streams.supervised import Inherited, run
from streams.supervisor import (
    CHILD_UNAVAILABLE,
    HURRY,
    MIB,
    SILENCE,
    ChildPipes,
    Limits,
    Restarts,
    Supervisor,
    listen,
    url_of,
)

TIMES_AWAY = 3
"""More often than a child may end before it was ready."""
ORPHAN = ("sh", "-c", "sleep 0.1 > /dev/null & echo $!")
"""Says whom it has started, and ends before that does."""
_SUBREAPER = 36
_EATEN: list[bytearray] = []


def _block() -> None:
    """As a handler that never lets go of the event loop does."""
    time.sleep(600)


async def _obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    word = (await reader.readline()).decode().strip()
    if word == "exit":
        os._exit(0)
    if word == "block":
        _block()
    if word == "orphan":
        parent = await asyncio.create_subprocess_exec(*ORPHAN, stdout=subprocess.PIPE)
        writer.write((await parent.communicate())[0])
    elif word == "spawn":
        sleeper = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=-1)
        writer.write(f"{sleeper.pid}\n".encode())
    else:
        writer.write(f"{os.getpid()}\n".encode())
    await writer.drain()
    writer.close()
    if word == "eat":
        # After the answer: the supervisor may be quicker than the meal.
        await writer.wait_closed()
        _EATEN.append(bytearray(os.urandom(1024)) * (300 * 1024))


def _engine(
    directory: Path, mode: str
) -> Callable[[socket.socket, Callable[[], None], asyncio.Event], asyncio.Future[None]]:
    async def engine(listener: socket.socket, ready: Callable[[], None]) -> None:
        server = await asyncio.start_server(_obey, sock=listener)
        ready()
        try:
            await server.serve_forever()
        finally:
            if mode == "stubborn":
                _block()
            if mode == "told-again":
                for number in (signal.SIGTERM, signal.SIGINT, HURRY):
                    os.kill(os.getpid(), number)
                # The event loop looks at them here.
                await asyncio.sleep(0.1)
            (directory / "drained").touch()

    return lambda listener, ready, _hurried: asyncio.ensure_future(engine(listener, ready))


def _starts(directory: Path) -> int:
    return len((directory / "starts").read_text().splitlines())


def _child(arguments: argparse.Namespace) -> None:
    with (arguments.directory / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    if arguments.child == "once-away" and _starts(arguments.directory) <= TIMES_AWAY:
        sys.exit(CHILD_UNAVAILABLE)
    if arguments.child.isdigit():
        sys.exit(int(arguments.child))
    if arguments.child == "never-ready":
        time.sleep(600)
    inherited = Inherited(
        **dict(zip(("listener", "lock", "ready", "life"), arguments.fds, strict=True))
    )
    run(_engine(arguments.directory, arguments.child), inherited)


def _serve(arguments: argparse.Namespace) -> int:
    # Whose parent has gone is its child then, as in a container whose first process it is.
    ctypes.CDLL(None).prctl(_SUBREAPER, 1)
    lock = acquire(arguments.directory)
    listener = listen("127.0.0.1", 0)

    def command(pipes: ChildPipes) -> list[str]:
        handed = (listener.fileno(), lock.fileno(), pipes.ready, pipes.life)
        return [
            *(sys.executable, __file__, "child", str(arguments.directory)),
            *("--child", arguments.child, "--fds", *map(str, handed)),
        ]

    supervisor = Supervisor(
        command,
        limits=Limits(
            memory=arguments.memory * MIB,
            drain=arguments.drain,
            start=arguments.start,
            silence=arguments.silence,
        ),
        on_ready=lambda: print(url_of(listener), flush=True),
        say=lambda sentence: print(sentence, file=sys.stderr, flush=True),
        pass_fds=(listener.fileno(), lock.fileno()),
        restarts=Restarts(early_limit=2),
    )
    return supervisor.run()


def start(directory: Path, **options: object) -> subprocess.Popen[str]:
    """The supervising process; its first line of output is the URL."""
    flags = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return subprocess.Popen(
        [sys.executable, __file__, "serve", str(directory), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("serve", "child"))
    parser.add_argument("directory", type=Path)
    parser.add_argument("--memory", type=int, default=1024)
    parser.add_argument("--drain", type=float, default=30.0)
    parser.add_argument("--start", type=float, default=30.0)
    parser.add_argument("--silence", type=float, default=SILENCE)
    parser.add_argument("--child", default="obedient")
    parser.add_argument("--fds", type=int, nargs=4)
    arguments = parser.parse_args()
    if arguments.role == "child":
        _child(arguments)
        return 0
    return _serve(arguments)


if __name__ == "__main__":
    sys.exit(main())

"""Open streams on one epoll loop, in a process of their own, and the moment each entry is read from each.

    python -m bench.listening < plan > outcome

Streams are opened one after the other; after that one caller sends, at a rate, into the convos in turn. What is read is
only searched for the ids of the messages, so that reading costs little of what it measures.
"""

import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import msgspec

from bench.load import CHUNK_BYTES, OK, ROOT, Connection, Request, new_name

PATIENCE_SECONDS = 30.0
GO, READY = b"go\n", b"ready\n"
PING, PONG, MASKED, NO_MASK = 0x89, 0x8A, 0x80, bytes(4)
OPENED = (b" 200 ", b" 101 ")


@dataclass(frozen=True)
class Listening:
    """Streams to open, what to send, and how many of the streams each message is for, in the order of sending."""

    port: int
    streams: list[bytes]
    sends: list[Request]
    readers: int
    rate: float
    seconds: float
    name: str = field(default_factory=new_name)


@dataclass
class Heard:
    """Milliseconds from the answer to a message until it is read: on each stream, and on the last of them."""

    delays: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    streams: int = 0
    opening_seconds: float = 0.0
    cpu_seconds: float = 0.0


class Listener:
    def __init__(self, plan: Listening) -> None:
        self.plan = plan
        self.poll = select.epoll()
        self.streams: dict[int, socket.socket] = {}
        self.pattern = re.compile(plan.name.encode() + b"([0-9a-f]{12})")
        self.sent: dict[int, float] = {}
        self.read: dict[int, list[float]] = {}

    def open_all(self) -> None:
        began = time.perf_counter()
        for request in self.plan.streams:
            opened = socket.create_connection(("127.0.0.1", self.plan.port), timeout=PATIENCE_SECONDS)
            opened.sendall(request)
            head = opened.recv(CHUNK_BYTES)
            assert any(status in head[:16] for status in OPENED), head
            self.streams[opened.fileno()] = opened
            self.poll.register(opened, select.EPOLLIN)
            # Who opens many is pinged before the last is open.
            self._hear_all(0)
        self.opening_seconds = time.perf_counter() - began

    def run(self) -> Heard:
        cpu, caller = time.process_time(), Connection(self.plan.port, iter(()))
        began = time.perf_counter()
        for number in range(int(self.plan.rate * self.plan.seconds)):
            self._hear_until(partial(is_past, began + number / self.plan.rate))
            caller.ask(self.plan.sends[number % len(self.plan.sends)], self.plan.name, number)
            self.read[number] = []
            while not caller.take():
                pass
            assert caller.status == OK, caller.answer
            self.sent[number] = time.perf_counter()
        give_up = time.perf_counter() + PATIENCE_SECONDS
        self._hear_until(lambda: self._all_read() or is_past(give_up))
        assert self._all_read(), "entries have not arrived"
        return self._heard(time.process_time() - cpu)

    def _all_read(self) -> bool:
        return all(len(moments) == self.plan.readers for moments in self.read.values())

    def _hear_until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._hear_all(0.001)

    def _hear_all(self, seconds: float) -> None:
        for descriptor, _ in self.poll.poll(seconds):
            self._hear(self.streams[descriptor])

    def _hear(self, stream: socket.socket) -> None:
        chunk = stream.recv(CHUNK_BYTES)
        assert chunk, "the server has ended a stream"
        if chunk[0] == PING and len(chunk) == 2 + chunk[1]:
            stream.sendall(bytes([PONG, MASKED | chunk[1]]) + NO_MASK + chunk[2:])
        now = time.perf_counter()
        # An event may name its message twice.
        for number in {int(found, 16) for found in self.pattern.findall(chunk)}:
            self.read[number].append(now)

    def _heard(self, cpu_seconds: float) -> Heard:
        heard = Heard(streams=len(self.streams), opening_seconds=self.opening_seconds, cpu_seconds=cpu_seconds)
        for number, moments in self.read.items():
            heard.delays += [max(0.0, moment - self.sent[number]) * 1000 for moment in moments]
            heard.last.append(max(0.0, max(moments) - self.sent[number]) * 1000)
        return heard


def is_past(moment: float) -> bool:
    return time.perf_counter() >= moment


def listen(plan: Listening, *, when_open: Callable[[], None]) -> Heard:
    """Carry out a plan in another process; ``when_open`` is called when all streams are open, before the first send."""
    command, pipe = [sys.executable, "-m", "bench.listening"], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe) as process:  # noqa: S603 - ours
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == READY, "the streams are not open"
        when_open()
        process.stdin.write(GO)
        process.stdin.flush()
        return msgspec.json.decode(process.stdout.read(), type=Heard)


def main() -> None:
    listener = Listener(msgspec.json.decode(sys.stdin.buffer.readline(), type=Listening))
    listener.open_all()
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    assert sys.stdin.buffer.readline() == GO
    sys.stdout.buffer.write(msgspec.json.encode(listener.run()))


if __name__ == "__main__":
    main()

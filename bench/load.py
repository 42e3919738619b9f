"""Callers on the wire: keep-alive connections on one epoll loop, in a process of their own.

    python -m bench.load < plan > outcome

A caller asks, waits for the whole answer and asks again; with a rate, requests begin when they are due, whether or not
earlier ones are answered, and a delay counts from then. Requests are made before the clock runs and answers are looked
at no further than their status and length, so that the load costs little of what it measures. Whoever is asked when
time is up still answers: nothing is left under way.
"""

import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, cycle
from pathlib import Path
from uuid import uuid4

import msgspec

ROOT = Path(__file__).parent.parent
PATIENCE_SECONDS = 60.0
CHUNK_BYTES = 1 << 18
LENGTH = b"content-length: "
SAMPLES = 3
OK = 200
# What stands between the halves of a request: the name of its plan, and a number.
NAME_LENGTH, NUMBER_LENGTH = 8, 12


@dataclass(frozen=True)
class Request:
    """The bytes of one call; where it has an ``end``, a number that is never used twice stands between its halves."""

    start: bytes
    end: bytes = b""


@dataclass(frozen=True)
class Plan:
    """What to ask whom: every caller goes round its own list, or with ``once`` through it and no further."""

    port: int
    callers: list[list[Request]]
    seconds: float
    warm_seconds: float = 1.0
    rate: float | None = None
    once: bool = False
    name: str = field(default_factory=lambda: new_name())

    def again(self) -> "Plan":
        """The same under another name, so that nothing in it is a repetition."""
        return replace(self, name=new_name())


def new_name() -> str:
    return uuid4().hex[:NAME_LENGTH]


@dataclass
class Outcome:
    """Delays are in milliseconds, of what was asked after warming up; ``answers`` counts all, warming up included."""

    delays: list[float] = field(default_factory=list)
    answers: dict[int, int] = field(default_factory=dict)
    refusals: list[bytes] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    answer_bytes: int = 0

    @property
    def a_second(self) -> float:
        return len(self.delays) / self.seconds

    @property
    def answered(self) -> int:
        return sum(self.answers.values())

    @classmethod
    def of(cls, parts: Sequence["Outcome"]) -> "Outcome":
        """Several loads, one after the other, as one."""
        whole = cls(seconds=sum(one.seconds for one in parts), cpu_seconds=sum(one.cpu_seconds for one in parts))
        whole.answer_bytes = max(one.answer_bytes for one in parts)
        for one in parts:
            whole.delays += one.delays
            for status, number in one.answers.items():
                whole.answers[status] = whole.answers.get(status, 0) + number
        return whole


class Connection:
    """One caller's socket, and the answer that is coming in on it."""

    __slots__ = ("answer", "asked", "requests", "size", "socket")

    def __init__(self, port: int, requests: Iterator[Request]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.requests = requests
        self.asked = 0.0
        self.answer = b""
        self.size = 0

    def ask(self, request: Request, name: str, number: int) -> None:
        self.answer, self.size = b"", 0
        if request.end:
            self.socket.sendall(b"%s%s%012x%s" % (request.start, name.encode(), number, request.end))
        else:
            self.socket.sendall(request.start)

    def take(self) -> bool:
        """Read what is there; True when the answer is complete."""
        chunk = self.socket.recv(CHUNK_BYTES)
        if not chunk:
            raise ConnectionError("the server has closed a connection")
        self.answer += chunk
        if not self.size:
            ended = self.answer.find(b"\r\n\r\n")
            if ended < 0:
                return False
            at = self.answer.index(LENGTH, 0, ended) + len(LENGTH)
            self.size = ended + 4 + int(self.answer[at : self.answer.index(b"\r", at)])
        return len(self.answer) == self.size

    @property
    def status(self) -> int:
        return int(self.answer[9:12])


class Callers:
    """All connections of a plan and what becomes of it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.outcome = Outcome()
        self.numbers = count()
        self.poll = select.epoll()
        self.connections: dict[int, Connection] = {}
        for requests in plan.callers:
            found = Connection(plan.port, iter(requests) if plan.once else cycle(requests))
            self.connections[found.socket.fileno()] = found
            self.poll.register(found.socket, select.EPOLLIN)

    def run(self) -> Outcome:
        began = time.perf_counter()
        self.warm, self.until = began + self.plan.warm_seconds, began + self.plan.warm_seconds + self.plan.seconds
        cpu = time.process_time()
        last = self._offer(began) if self.plan.rate else self._keep_asking()
        self.outcome.seconds = last - self.warm
        self.outcome.cpu_seconds = time.process_time() - cpu
        return self.outcome

    def _keep_asking(self) -> float:
        """Each asks as soon as it is answered; the moment of the last answer."""
        busy = sum(self._ask(one, time.perf_counter()) for one in self.connections.values())
        now = time.perf_counter()
        while busy:
            for found in self._answered():
                now = time.perf_counter()
                self._note(found, now)
                if now >= self.until or not self._ask(found, now):
                    busy -= 1
        return now

    def _offer(self, began: float) -> float:
        """A request each time one is due, by whoever is free, and late when nobody is."""
        free, step, now = deque(self.connections.values()), 1 / (self.plan.rate or 1), began
        due = began
        while due < self.until or len(free) < len(self.connections):
            now = time.perf_counter()
            while free and due <= now and due < self.until:
                self._ask(free.popleft(), due)
                due += step
            wait = due - now if free and due < self.until else PATIENCE_SECONDS
            for found in self._answered(max(0.0, wait)):
                now = time.perf_counter()
                self._note(found, now)
                free.append(found)
        return now

    def _ask(self, by: Connection, since: float) -> bool:
        """False when the caller has nothing more to ask."""
        request = next(by.requests, None)
        if request is None:
            # A server ends a connection on which nothing is asked for a while, and that would look like a fault.
            self.poll.unregister(by.socket)
            by.socket.close()
            return False
        by.asked = since
        by.ask(request, self.plan.name, next(self.numbers))
        return True

    def _answered(self, seconds: float = PATIENCE_SECONDS) -> list[Connection]:
        ready = self.poll.poll(seconds)
        if not ready and seconds == PATIENCE_SECONDS:
            raise TimeoutError("the server does not answer")
        found = (self.connections[descriptor] for descriptor, _ in ready)
        return [one for one in found if one.take()]

    def _note(self, found: Connection, now: float) -> None:
        outcome = self.outcome
        status = found.status
        outcome.answers[status] = outcome.answers.get(status, 0) + 1
        if status != OK and len(outcome.refusals) < SAMPLES:
            outcome.refusals.append(found.answer)
        if found.asked >= self.warm:
            outcome.delays.append((now - found.asked) * 1000)
            outcome.answer_bytes = max(outcome.answer_bytes, found.size)


def ask(port: int, request: Request) -> bytes:
    """One call by a caller that comes for it alone; the body of its answer."""
    found = Connection(port, iter(()))
    found.ask(request, new_name(), 0)
    while not found.take():
        pass
    found.socket.close()
    assert found.status == OK, found.answer
    return found.answer.partition(b"\r\n\r\n")[2]


def load(plan: Plan) -> Outcome:
    """Carry out a plan in another process; an answer other than 200 is an error."""
    command = [sys.executable, "-m", "bench.load"]
    asked = msgspec.msgpack.encode(plan)
    done = subprocess.run(command, cwd=ROOT, input=asked, stdout=subprocess.PIPE, check=True)  # noqa: S603 - ours
    outcome = msgspec.msgpack.decode(done.stdout, type=Outcome)
    assert set(outcome.answers) <= {OK}, (outcome.answers, outcome.refusals)
    return outcome


def main() -> None:
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.msgpack.encode(Callers(plan).run()))


if __name__ == "__main__":
    main()

"""Hands a milter as many mails as it takes, and counts what that costs everybody.

Run as a program it loads the milter on 127.0.0.1 of its network namespace and prints the outcome as JSON:
python -m tests.bench.load PORT MAILS SECONDS.  All bytes are put together beforehand, and each mail has a connection of
its own, as with an MTA whose sessions bring one mail each.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import random
import socket
import struct
import sys
import textwrap
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from mailfilter_operator.milter import ACTIONS, NO_REPLY, final, split_message

CONNECTIONS = 8
"""Mails under way at one time."""
VARIANTS = 64
"""Different mails, so that nothing is remembered from the one before."""
MAIL_BYTES = 2000
TIMEOUT_SECONDS = 30.0
_CHANGES = b"himbep+-"
"""What a milter may say before its verdict: changes and "still at it"."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class Outcome:
    """What came of a load: answers by verdict, duration, and processor seconds.

    Those of the client, of the whole machine, and of each program that shares the milter's network.
    """

    replies: dict[str, int]
    seconds: float
    client_cpu: float
    machine_cpu: float
    cpu: dict[str, float]

    @property
    def mails(self) -> int:
        """Mails that were answered or ended without an answer."""
        return sum(self.replies.values())


def write_mail(number: int) -> bytes:
    """Write an ordinary mail of MAIL_BYTES with a text and a small attachment, different for each *number*."""
    chance = random.Random(number)  # noqa: S311 - words, not secrets
    words = " ".join(
        f"{chance.choice(('meeting', 'minutes', 'agenda', 'report'))}{chance.randrange(1000)}" for _ in range(60)
    )
    text = textwrap.fill(words, 70).replace("\n", "\r\n")
    head = (
        f"From: sender@example.org\r\nTo: recipient@example.com\r\nSubject: Minutes {number}\r\n"
        f"Message-ID: <{number}.load@mail.example.org>\r\nDate: Mon, 23 Nov 2026 09:00:00 +0000\r\n"
        'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="part"\r\n\r\n'
        f"--part\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n--part\r\n"
        "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        'Content-Disposition: attachment; filename="table.bin"\r\n\r\n'
    )
    room = MAIL_BYTES - len(head) - len("--part--\r\n")
    content = base64.encodebytes(chance.randbytes(room * 57 // 80)).replace(b"\n", b"\r\n")
    return head.encode() + content + b"--part--\r\n"


def _packet(command: bytes, data: bytes = b"") -> bytes:
    return struct.pack("!I", len(data) + 1) + command + data


GREETING = _packet(b"O", struct.pack("!III", 6, ACTIONS, sum(NO_REPLY.values())))


@dataclasses.dataclass(frozen=True)
class Session:
    """All that is sent for one mail after the negotiation, and the commands in it that a milter may answer."""

    content: bytes
    commands: bytes

    def answers(self, granted: int) -> int:
        """How many answers come before those to the whole mail, if the milter *granted* to be silent."""
        return sum(not granted & NO_REPLY[bytes([command])] for command in self.commands)


def write_session(mail: bytes) -> Session:
    """Write the packets by which an MTA hands over *mail*."""
    fields, body = split_message(mail)
    steps = [
        (b"C", b"client.example.org\0" + b"4" + struct.pack("!H", 4711) + b"198.51.100.7\0"),
        (b"H", b"client.example.org\0"),
        (b"M", b"<sender@example.org>\0"),
        (b"R", b"<recipient@example.com>\0"),
        *((b"L", name + b"\0" + value + b"\0") for name, value in fields),
        (b"N", b""),
        (b"B", body),
    ]
    macros = {b"C": b"Cj\0mx.example.com\0{daemon_name}\0mx.example.com\0", b"M": b"Mi\0004F0001\0"}
    packets = [(_packet(b"D", macros[name]) if name in macros else b"") + _packet(name, data) for name, data in steps]
    return Session(b"".join(packets) + _packet(b"E"), b"".join(name for name, _ in steps))


def _packets(connection: socket.socket) -> Iterator[tuple[bytes, bytes]]:
    """Yield what the milter sends; ConnectionError if it closes the connection."""
    received = b""
    while True:
        while len(received) < 4 or len(received) < 4 + struct.unpack("!I", received[:4])[0]:
            more = connection.recv(65536)
            if not more:
                raise ConnectionError("the milter closed the connection")
            received += more
        end = 4 + struct.unpack("!I", received[:4])[0]
        yield received[4:5], received[5:end]
        received = received[end:]


def scan(port: int, session: Session) -> str:
    """Return the verdict on one mail; OSError if there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(GREETING)
        packets = _packets(connection)
        _, negotiated = next(packets)
        connection.sendall(session.content)
        for _ in range(session.answers(struct.unpack("!I", negotiated[8:12])[0])):
            answer, data = next(packets)
            if answer != b"c":
                return final(answer, data)
        answer, data = next(packet for packet in packets if packet[0] not in _CHANGES)
        connection.sendall(_packet(b"Q"))
        return final(answer, data)


def run(port: int, mails: int, seconds: float) -> Outcome:
    """Hand over at most *mails*, none of them begun after *seconds*, with CONNECTIONS under way at a time."""
    sessions = [write_session(write_mail(number)) for number in range(VARIANTS)]
    numbers = iter(range(mails))
    replies: list[str] = []
    before, machine_before = _cpu_seconds(), _machine_seconds()
    client_before = time.process_time()
    started = time.monotonic()

    def send() -> None:
        for number in numbers:
            if time.monotonic() - started > seconds:
                return
            try:
                replies.append(scan(port, sessions[number % VARIANTS]))
            except OSError as error:
                replies.append(f"no answer: {error}")

    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - started
    client = time.process_time() - client_before
    machine = _machine_seconds() - machine_before
    after = _cpu_seconds()
    spent: defaultdict[str, float] = defaultdict(float)
    for process, (name, cpu) in after.items():
        spent[name] += cpu - before.get(process, (name, 0.0))[1]
    programs = {name: cpu for name, cpu in spent.items() if cpu > 0}
    return Outcome(dict(Counter(replies)), elapsed, client, machine, programs)


def _machine_seconds() -> float:
    """Return for how long the machine's processors have not been idle, each counted."""
    user, nice, system, _idle, _waiting, *more = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    return sum(map(int, (user, nice, system, *more))) / _TICKS


def _cpu_seconds() -> dict[int, tuple[str, float]]:
    """Return name and processor seconds, ended children's included, of every other process on this network."""
    here = Path("/proc/self/ns/net").readlink()
    found: dict[int, tuple[str, float]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if int(entry.name) != os.getpid() and (entry / "ns/net").readlink() == here:
                name, _, rest = (entry / "stat").read_text().partition(" (")[2].rpartition(") ")
                ticks = sum(map(int, rest.split()[11:15]))
                found[int(entry.name)] = (name, ticks / _TICKS)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def main(arguments: Sequence[str]) -> None:
    """Load the milter and print the outcome."""
    port, mails, seconds = int(arguments[0]), int(arguments[1]), float(arguments[2])
    print(json.dumps(dataclasses.asdict(run(port, mails, seconds))))


if __name__ == "__main__":
    main(sys.argv[1:])

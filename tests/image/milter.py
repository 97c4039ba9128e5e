"""A small milter client: hands one message to a milter as Postfix would and returns the verdict.

Run as a program it reads the message from stdin and prints the verdict as JSON, so that it can run in another network
namespace: python -m tests.image.milter PORT CLIENT-ADDRESS SENDER [USERNAME]
"""

import dataclasses
import json
import re
import socket
import struct
import sys
import time

# Offered in the negotiation (libmilter's mfdef.h): all changes, and not to wait for answers that are not sent.
ACTIONS = 0x1FF
NO_REPLY = {b"C": 0x1000, b"H": 0x2000, b"M": 0x4000, b"R": 0x8000, b"L": 0x80, b"N": 0x40000, b"B": 0x80000}
BODY_CHUNK = 65535


@dataclasses.dataclass
class Verdict:
    """What the milter answered: reply is accept, tempfail, reject, discard, or an SMTP reply ("451 4.7.1 ...")."""

    reply: str
    headers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


class Session:
    """One milter connection."""

    def __init__(self, port: int, timeout: float, host: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection((host, port), timeout=timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb")
        self._unanswered = 0
        self.send(b"O", struct.pack("!III", 6, ACTIONS, sum(NO_REPLY.values())))
        _, answer = self.receive()
        (self._unanswered,) = struct.unpack("!I", answer[8:12])

    def send(self, command: bytes, data: bytes = b"") -> None:
        """Sends one packet."""
        self._socket.sendall(struct.pack("!I", len(data) + 1) + command + data)

    def receive(self) -> tuple[bytes, bytes]:
        """The next packet; ConnectionError if the milter closed the connection."""
        head = self._stream.read(5)
        if len(head) < 5:
            raise ConnectionError("the milter closed the connection")
        (length,) = struct.unpack("!I", head[:4])
        return head[4:], self._stream.read(length - 1)

    def step(self, command: bytes, data: bytes = b"") -> tuple[bytes, bytes]:
        """Sends one packet and returns the answer to it; "continue" where the milter sends none."""
        self.send(command, data)
        return (b"c", b"") if self._unanswered & NO_REPLY[command] else self.receive()

    def macros(self, command: bytes, values: dict[str, str]) -> None:
        """Sends the macros that belong to a command."""
        words = b"".join(f"{name}\0{value}\0".encode() for name, value in values.items())
        self.send(b"D", command + words)

    def close(self) -> None:
        """Ends the session."""
        self.send(b"Q")
        self._socket.close()


def split_message(message: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Header fields (unfolded only at their ends) and body of a message with CRLF line ends."""
    head, _, body = message.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head)
    pairs = [field.partition(b":")[::2] for field in fields]
    return [(name, value.lstrip(b" ").replace(b"\r\n", b"\n")) for name, value in pairs], body


def scan(
    message: bytes,
    port: int,
    *,
    client: str = "198.51.100.7",
    sender: str = "sender@example.org",
    username: str = "",
    host: str = "127.0.0.1",
) -> Verdict:
    """The milter's verdict on a message; OSError if a packet is not answered within 90 seconds."""
    started = time.monotonic()
    session = Session(port, 90, host)
    session.macros(b"C", {"j": "mx.example.com", "{daemon_name}": "mx.example.com"})
    session.step(b"C", b"client.example.org\0" + b"4" + struct.pack("!H", 4711) + client.encode() + b"\0")
    session.step(b"H", b"client.example.org\0")
    session.macros(b"M", {"i": "4F0001", **({"{auth_authen}": username} if username else {})})
    session.step(b"M", f"<{sender}>\0".encode())
    session.step(b"R", b"<recipient@example.com>\0")
    fields, body = split_message(message)
    for name, value in fields:
        session.step(b"L", name + b"\0" + value + b"\0")
    session.step(b"N")
    for start in range(0, len(body), BODY_CHUNK):
        session.step(b"B", body[start : start + BODY_CHUNK])
    verdict = end_of_message(session)
    verdict.seconds = time.monotonic() - started
    session.close()
    return verdict


def end_of_message(session: Session) -> Verdict:
    """What the milter changes and decides once it has the whole message."""
    verdict = Verdict("")
    session.send(b"E")
    while not verdict.reply:
        answer, data = session.receive()
        if answer in (b"h", b"i", b"m"):  # add, insert and change a header; the last two start with its position
            name, value = data[0 if answer == b"h" else 4 :].split(b"\0")[:2]
            verdict.headers.append((name.decode(), value.decode(errors="replace")))
        elif answer not in (b"p", b"+", b"-", b"b", b"e"):  # progress, recipients, body, sender
            verdict.reply = final(answer, data)
    return verdict


def final(answer: bytes, data: bytes) -> str:
    """Name of a final answer."""
    names = {b"a": "accept", b"c": "accept", b"t": "tempfail", b"r": "reject", b"d": "discard", b"q": "quarantine"}
    return data.rstrip(b"\0").decode() if answer == b"y" else names.get(answer, repr(answer))


if __name__ == "__main__":
    options = dict(zip(("client", "sender", "username"), sys.argv[2:], strict=False))
    outcome = scan(sys.stdin.buffer.read(), int(sys.argv[1]), **options)
    print(json.dumps(dataclasses.asdict(outcome)))

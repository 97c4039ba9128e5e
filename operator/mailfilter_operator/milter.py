"""The MTA's side of the milter protocol, version 6, as Postfix speaks it: mails go in, the milter's wishes come out.

Commands, answers and flags are those of libmilter's mfdef.h. OSError is all that the network and a milter that breaks
the protocol can raise.
"""

import re
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

ACTIONS = 0x1FF
"""Offered in the negotiation: the milter may change everything."""
NO_REPLY = {b"C": 0x1000, b"H": 0x2000, b"M": 0x4000, b"R": 0x8000, b"L": 0x80, b"N": 0x40000, b"B": 0x80000}
"""Offered too: the commands that a milter may leave unanswered."""
MTA = "mx.example.com"

_BODY_CHUNK = 65535
_LONGEST_PACKET = 1 << 20
_ADD, _INSERT, _CHANGE = b"h", b"i", b"m"
_NOT_FINAL = (b"p", b"+", b"-", b"b", b"e")
"""Progress, recipients, body, sender."""


@dataclass(frozen=True, slots=True)
class HeaderChange:
    """A header field to add at the end, to insert (position 0 is the top), or to put in the place of one of its name.

    Positions of the last count from 1 and only fields of the name.
    """

    name: str
    value: str
    position: int | None = None
    replaces: bool = False


@dataclass
class Verdict:
    """What the milter answered: reply is accept, tempfail, reject, discard, quarantine, or a line of SMTP."""

    reply: str
    changes: list[HeaderChange] = field(default_factory=list)


class Session:
    """One milter connection, for one client and any number of its mails."""

    def __init__(self, host: str, port: int, *, seconds: float) -> None:
        """Connect and negotiate; each of both may take *seconds*, which also bound what follows until `wait`."""
        self._socket = socket.create_connection((host, port), timeout=seconds)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._unanswered = self._negotiate(seconds)
        except OSError:
            self._socket.close()
            raise

    def _negotiate(self, seconds: float) -> int:
        self.wait(seconds)
        self.send(b"O", struct.pack("!III", 6, ACTIONS, sum(NO_REPLY.values())))
        answer, data = self.receive()
        if answer != b"O" or len(data) < 12:
            raise ConnectionError("what answers is not a milter")
        (unanswered,) = struct.unpack("!I", data[8:12])
        return int(unanswered)

    def wait(self, seconds: float) -> None:
        """Let everything from now on take *seconds* together; TimeoutError from what takes longer."""
        self._until = time.monotonic() + seconds

    def send(self, command: bytes, data: bytes = b"") -> None:
        """Send one packet."""
        self._set_timeout()
        self._socket.sendall(struct.pack("!I", len(data) + 1) + command + data)

    def receive(self) -> tuple[bytes, bytes]:
        """The next packet; ConnectionError if the milter closed the connection."""
        (length,) = struct.unpack("!I", self._read(4))
        if not 1 <= length <= _LONGEST_PACKET:
            raise ConnectionError("what answers is not a milter")
        packet = self._read(length)
        return packet[:1], packet[1:]

    def _read(self, size: int) -> bytes:
        read = bytearray()
        while len(read) < size:
            self._set_timeout()
            more = self._socket.recv(size - len(read))
            if not more:
                raise ConnectionError("the milter closed the connection")
            read += more
        return bytes(read)

    def _set_timeout(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)

    def step(self, command: bytes, data: bytes = b"") -> tuple[bytes, bytes]:
        """Send one packet and return the answer to it; "continue" where the milter sends none."""
        self.send(command, data)
        return (b"c", b"") if self._unanswered & NO_REPLY[command] else self.receive()

    def macros(self, command: bytes, values: Mapping[str, str]) -> None:
        """Send the macros that belong to a command."""
        self.send(b"D", command + _join(*(word for pair in values.items() for word in pair)))

    def greet(self, client: str) -> str:
        """Name the client by its IP address; what the milter answered if it wants none of its mails, else nothing."""
        family = b"6" if ":" in client else b"4"
        self.macros(b"C", {"j": MTA, "{daemon_name}": MTA, "{client_addr}": client})
        address = b"client.example.org\0" + family + struct.pack("!H", 4711) + client.encode() + b"\0"
        return self._run([(b"C", address), (b"H", b"client.example.org\0")])

    def submit(self, sender: str, recipient: str, message: bytes, macros: Mapping[str, str]) -> Verdict:
        """Hand over a mail with the macros that belong to its sender; the client must have been named."""
        self.macros(b"M", macros)
        fields, body = split_message(message)
        steps = [
            (b"M", _join(f"<{sender}>")),
            (b"R", _join(f"<{recipient}>")),
            *((b"L", name + b"\0" + value + b"\0") for name, value in fields),
            (b"N", b""),
            *((b"B", body[start : start + _BODY_CHUNK]) for start in range(0, len(body), _BODY_CHUNK)),
        ]
        if refusal := self._run(steps):
            self.send(b"A")
            return Verdict(refusal)
        return self._end_message()

    def _run(self, steps: list[tuple[bytes, bytes]]) -> str:
        for command, data in steps:
            answer, words = self.step(command, data)
            if answer != b"c":
                return final(answer, words)
        return ""

    def _end_message(self) -> Verdict:
        verdict = Verdict("")
        self.send(b"E")
        while not verdict.reply:
            answer, data = self.receive()
            if answer in (_ADD, _INSERT, _CHANGE):
                verdict.changes.append(_parse_change(answer, data))
            elif answer not in _NOT_FINAL:
                verdict.reply = final(answer, data)
        return verdict

    def close(self) -> None:
        """End the session, whatever time is left."""
        self.wait(1)
        try:
            self.send(b"Q")
        finally:
            self._socket.close()


def split_message(message: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Header fields (unfolded only at their ends) and body of a message with CRLF line ends."""
    head, _, body = message.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head)
    pairs = [field.partition(b":")[::2] for field in fields]
    return [(name, value.lstrip(b" ").replace(b"\r\n", b"\n")) for name, value in pairs], body


def change_message(message: bytes, changes: list[HeaderChange]) -> bytes:
    """Write *message* as the MTA sends it on, which is what a receiver verifies."""
    fields, body = split_message(message)
    for change in changes:
        new = (change.name.encode(), change.value.encode())
        if change.position is None:
            fields.append(new)
        elif not change.replaces:
            fields.insert(change.position, new)
        else:
            same = [index for index, (name, _) in enumerate(fields) if name.lower() == new[0].lower()]
            place = max(change.position, 1) - 1
            if place < len(same):
                fields[same[place] : same[place] + 1] = [new] if change.value else []
            elif change.value:
                fields.append(new)
    lines = (name + b": " + re.sub(rb"\r?\n", b"\r\n", value) for name, value in fields)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def final(answer: bytes, data: bytes) -> str:
    """Name of a final answer."""
    known = {b"a": "accept", b"c": "accept", b"t": "tempfail", b"r": "reject", b"d": "discard", b"q": "quarantine"}
    return data.rstrip(b"\0").decode(errors="replace") if answer == b"y" else known.get(answer, repr(answer))


def _parse_change(answer: bytes, data: bytes) -> HeaderChange:
    """Read an added, inserted or changed header; the last two start with its position."""
    start = 0 if answer == _ADD else 4
    words = data[start:].split(b"\0")
    if len(data) < start or len(words) < 2:
        raise ConnectionError("the milter sent half a header field")
    name, value = (word.decode(errors="replace") for word in words[:2])
    position = None if answer == _ADD else int.from_bytes(data[:4], "big")
    return HeaderChange(name, value, position, replaces=answer == _CHANGE)


def _join(*words: str) -> bytes:
    return b"".join(word.encode() + b"\0" for word in words)

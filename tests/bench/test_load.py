"""The client that loads a milter, against a milter of a few lines."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from tests.bench import load, throughput

from mailfilter_operator.milter import NO_REPLY

GRANTED = sum(NO_REPLY.values())
CONTINUE = b"\0\0\0\1c"
ADDED_HEADER = struct.pack("!I", 9) + b"hX-A\0yes\0"


def _negotiate(granted: int) -> bytes:
    return struct.pack("!I", 13) + b"O" + struct.pack("!III", 6, 0, granted)


@contextlib.contextmanager
def milter(granted: int, verdict: bytes) -> Iterator[int]:
    """Serve a milter that is silent where *granted* says so and ends every mail with *verdict*; yield its port."""

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while head := stream.read(5):
                command = head[4:]
                stream.read(struct.unpack("!I", head[:4])[0] - 1)
                if command == b"O":
                    connection.sendall(_negotiate(granted))
                elif command == b"E":
                    connection.sendall(verdict)
                    if not verdict:
                        return
                elif command in NO_REPLY and not granted & NO_REPLY[command]:
                    connection.sendall(CONTINUE)

    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(server.accept()[0],)).start()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("granted", [GRANTED, 0, NO_REPLY[b"L"]], ids=["silent", "talkative", "silent on headers"])
def test_every_mail_is_counted_by_its_verdict(granted: int) -> None:
    with milter(granted, ADDED_HEADER + b"\0\0\0\1p" + b"\0\0\0\1a") as port:
        outcome = load.run(port, mails=50, seconds=30)
    assert outcome.replies == {"accept": 50}
    assert outcome.mails == 50
    assert outcome.seconds > 0


def test_a_refusal_is_counted_with_its_text() -> None:
    with milter(GRANTED, struct.pack("!I", 11) + b"y451 later\0") as port:
        assert load.run(port, mails=3, seconds=30).replies == {"451 later": 3}


def test_a_connection_that_ends_without_a_verdict_is_counted() -> None:
    with milter(GRANTED, b"") as port:
        assert load.run(port, mails=3, seconds=30).replies == {"no answer: the milter closed the connection": 3}


def test_no_mail_is_begun_after_the_time() -> None:
    with milter(GRANTED, b"\0\0\0\1a") as port:
        assert load.run(port, mails=3, seconds=-1).replies == {}


def test_mails_differ_and_have_the_size_that_is_told() -> None:
    mails = [load.write_mail(number) for number in range(load.VARIANTS)]
    assert len(set(mails)) == load.VARIANTS
    assert all(abs(len(mail) - load.MAIL_BYTES) < 100 for mail in mails)


def test_the_ratio_is_that_of_the_medians() -> None:
    """Each round handed over in one second, with the processor time of one program and the name server."""

    def outcome(mails: int) -> load.Outcome:
        return load.Outcome({"accept": mails}, 1.0, 0.1, 1.5, {"rspamd": mails * 0.002, "python": 0.1})

    ours, stock = [outcome(mails) for mails in (300, 900, 450)], [outcome(mails) for mails in (300, 100, 310)]
    ratio, cost, _ = throughput.summarize(ours, stock)
    assert ratio.measured == "1.50"
    assert "450 against 300 mails/s" in ratio.basis
    assert "ratio by round 1.00-9.00" in ratio.basis
    assert cost.measured == "rspamd 2.00 ms"

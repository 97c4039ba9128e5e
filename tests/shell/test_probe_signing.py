"""Probes against a milter on loopback that signs for real, or does what no milter should."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dkim.canonicalization import Relaxed
from tests.unit import samples

from mailfilter_operator.dkim.records import build_dkim_record
from mailfilter_operator.probe_signing import ProbeSigning, verify_signatures, write_message
from mailfilter_operator.signing import ProbeMail, ProbeResult

NEGOTIATED = bytes.fromhex("0000000d4f00000006000001ff000ff080")
"""What rspamd 4.1 answers to the greeting: it leaves every command unanswered that it may."""
CLIENT_ANSWERED = bytes.fromhex("0000000d4f00000006000001ff000fe080")
SENDER_ANSWERED = bytes.fromhex("0000000d4f00000006000001ff000fb080")
TALKATIVE = bytes.fromhex("0000000d4f00000006000001ff00000000")
ACCEPT = bytes.fromhex("0000000161")
CONTINUE = bytes.fromhex("0000000163")
PROGRESS = bytes.fromhex("0000000170")
LATER = b"\0\0\0\x11y451 4.7.1 Later\0"

KEY = samples.dkim_key("example.com")
RECORD = build_dkim_record(KEY)
OTHER_RECORD = build_dkim_record(samples.dkim_key("example.org"))
SECOND = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SECOND_NAME = "ed1._domainkey.example.com"
SECOND_VALUE = f"v=DKIM1; k=ed25519; p={base64.b64encode(SECOND.public_key().public_bytes_raw()).decode()}"
MAIL = ProbeMail("probe@example.com", "probe@example.com", "192.0.2.1", {RECORD.name: RECORD.value})
BOTH = ProbeMail(MAIL.sender, MAIL.user, MAIL.client, {**MAIL.records, SECOND_NAME: SECOND_VALUE})
UNSIGNED = "the mail came back without this signature"
UNFIT = "the signature does not fit the mail or the record's key"


def packet(command: bytes, data: bytes = b"") -> bytes:
    return struct.pack("!I", len(data) + 1) + command + data


def insert(name: bytes, value: bytes) -> bytes:
    """Insert a header field where rspamd does."""
    return packet(b"i", b"\0\0\0\x01" + name + b"\0" + value.replace(b"\r\n", b"\n") + b"\0")


def sign(message: bytes) -> bytes:
    """Value of a signature with the fixed RSA key."""
    signer = dkim.DKIM(message)
    line = signer.sign(KEY.selector.encode(), b"example.com", KEY.private_pem, canonicalize=(b"relaxed", b"relaxed"))
    return bytes(line).removeprefix(b"DKIM-Signature: ").rstrip()


def sign_second(message: bytes) -> bytes:
    """Value of a signature with the fixed Ed25519 key, by RFC 8463 section 3."""
    head, _, body = message.partition(b"\r\n\r\n")
    fields = [line.partition(b":")[::2] for line in head.split(b"\r\n")]
    digest = base64.b64encode(hashlib.sha256(Relaxed.canonicalize_body(body)).digest())
    value = b"v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.com; s=ed1; h=from:subject; bh=" + digest + b"; b="
    signed = [(name, text) for wanted in (b"From", b"Subject") for name, text in fields if name == wanted]
    lines = Relaxed.canonicalize_headers([*signed, (b"DKIM-Signature", value)])
    text = b"".join(name + b":" + line for name, line in lines).rstrip()
    return value + base64.b64encode(SECOND.sign(hashlib.sha256(text).digest()))


Answer = Callable[[bytes, socket.socket], None]
"""What is sent when a mail is complete."""


def signing(*signers: Callable[[bytes], bytes], last: bytes = ACCEPT) -> Answer:
    def answer(message: bytes, connection: socket.socket) -> None:
        added = b"".join(insert(b"DKIM-Signature", signer(message)) for signer in signers)
        connection.sendall(PROGRESS + added + last)

    return answer


class Milter:
    """A milter on loopback; what it was told."""

    def __init__(self, answer: Answer, greeting: bytes = NEGOTIATED, refused: bytes = b"") -> None:
        self.answer, self.greeting, self.refused = answer, greeting, refused
        self.connections = 0
        self.macros: list[dict[str, str]] = []
        self.said: list[tuple[bytes, bytes]] = []
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            while len(head := stream.read(5)) == 5:
                command, data = head[4:], stream.read(struct.unpack("!I", head[:4])[0] - 1)
                self.said.append((command, data))
                self._react(connection, command, data)

    def _react(self, connection: socket.socket, command: bytes, data: bytes) -> None:
        if command == b"O":
            connection.sendall(self.greeting)
        elif command == b"D" and data[:1] == b"M":
            words = data[1:].decode().split("\0")
            self.macros.append(dict(zip(words[::2], words[1::2], strict=False)))
        elif command == b"E":
            self.answer(self._message(), connection)
        elif command in (b"C", b"H", b"M", b"R", b"L", b"N", b"B"):
            if command == self.refused:
                connection.sendall(LATER)
            elif self.greeting == TALKATIVE:
                connection.sendall(CONTINUE)

    def _message(self) -> bytes:
        """The last mail, as it was said."""
        start = max(index for index, (command, _) in enumerate(self.said) if command == b"M")
        fields = [data.split(b"\0") for command, data in self.said[start:] if command == b"L"]
        body = b"".join(data for command, data in self.said[start:] if command == b"B")
        return b"".join(name + b": " + value + b"\r\n" for name, value, _ in fields) + b"\r\n" + body

    def stop(self) -> None:
        for opened in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Milter]]:
    """Start milters that end with the test."""
    started: list[Milter] = []

    def start(answer: Answer, **options: bytes) -> Milter:
        started.append(Milter(answer, **options))
        return started[-1]

    yield start
    for milter in started:
        milter.stop()


Serve = Callable[..., Milter]


def probe(milter: Milter, *mails: ProbeMail, **limits: float) -> tuple[ProbeResult, ...]:
    return ProbeSigning(milter.port, **limits)("127.0.0.1", mails)


def failures(milter: Milter, mail: ProbeMail = MAIL, **limits: float) -> tuple[str, dict[str, str]]:
    (result,) = probe(milter, mail, **limits)
    assert set(result.verified) | set(result.failed) == set(mail.records)
    return result.reply, dict(result.failed)


@pytest.mark.parametrize("greeting", [NEGOTIATED, TALKATIVE], ids=["silent", "talkative"])
def test_a_signed_mail_verifies(serve: Serve, greeting: bytes) -> None:
    (result,) = probe(serve(signing(sign), greeting=greeting), MAIL)
    assert result == ProbeResult(MAIL.sender, "accept", (RECORD.name,), {})


def test_both_signatures_verify(serve: Serve) -> None:
    (result,) = probe(serve(signing(sign, sign_second)), BOTH)
    assert result == ProbeResult(MAIL.sender, "accept", (RECORD.name, SECOND_NAME), {})


def test_a_second_signature_that_is_missing_is_named(serve: Serve) -> None:
    assert failures(serve(signing(sign)), BOTH) == ("accept", {SECOND_NAME: UNSIGNED})


def test_mail_without_a_signature_does_not_verify(serve: Serve) -> None:
    assert failures(serve(signing())) == ("accept", {RECORD.name: UNSIGNED})


def test_a_signature_of_another_key_does_not_verify(serve: Serve) -> None:
    wrong = ProbeMail(MAIL.sender, MAIL.user, MAIL.client, {RECORD.name: OTHER_RECORD.value})
    assert failures(serve(signing(sign)), wrong) == ("accept", {RECORD.name: UNFIT})


def test_a_second_signature_of_another_key_does_not_verify(serve: Serve) -> None:
    public = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    value = f"v=DKIM1; k=ed25519; p={base64.b64encode(public).decode()}"
    wrong = ProbeMail(MAIL.sender, MAIL.user, MAIL.client, {SECOND_NAME: value})
    assert failures(serve(signing(sign_second)), wrong) == ("accept", {SECOND_NAME: UNFIT})


@pytest.mark.parametrize("signer", [sign, sign_second])
def test_a_header_that_changes_after_signing_breaks_the_signature(
    serve: Serve, signer: Callable[[bytes], bytes]
) -> None:
    def answer(message: bytes, connection: socket.socket) -> None:
        subject = packet(b"m", b"\0\0\0\x01Subject\0Something else\0")
        connection.sendall(insert(b"DKIM-Signature", signer(message)) + subject + ACCEPT)

    mail = BOTH if signer is sign_second else MAIL
    _, failed = failures(serve(answer), mail)
    assert failed[SECOND_NAME if signer is sign_second else RECORD.name] == UNFIT


def test_a_body_other_than_the_signed_one_is_said(serve: Serve) -> None:
    _, failed = failures(serve(signing(lambda message: sign(message + b"more\r\n"))))
    assert failed[RECORD.name].startswith("the signature or the record is not good: body hash mismatch")
    assert len(failed[RECORD.name]) <= 120


@pytest.mark.parametrize("signature", [b"", b"v=1", b"\xff=\xfe;;", b"v=1; a=x; b=!; bh=?; d=example.com; h=; s=mf1"])
def test_a_signature_that_is_none_counts_for_nothing(serve: Serve, signature: bytes) -> None:
    milter = serve(signing(lambda _: signature, sign))
    assert failures(milter) == ("accept", {})


@pytest.mark.parametrize(
    "record",
    ["", "v=DKIM1", "v=DKIM1; p=", "v=DKIM1; p=AAAA", "v=DKIM1; k=ed25519", "v=DKIM1; k=ed25519; p=!", SECOND_VALUE],
)
@pytest.mark.parametrize("signer", [sign, sign_second])
def test_a_record_that_does_not_fit_is_a_reason(signer: Callable[[bytes], bytes], record: str) -> None:
    message = write_message("probe@example.com")
    signed = b"DKIM-Signature: " + signer(message) + b"\r\n" + message
    name = SECOND_NAME if signer is sign_second else RECORD.name
    failed = verify_signatures(signed, {name: record})
    assert set(failed) == (set() if (signer, record) == (sign_second, SECOND_VALUE) else {name})


def test_an_answer_other_than_accept_is_the_reason(serve: Serve) -> None:
    milter = serve(signing(sign, last=LATER))
    assert failures(milter) == ("451 4.7.1 Later", {RECORD.name: "the mail was answered 451 4.7.1 Later"})


def test_a_mail_refused_before_its_end_leaves_the_session_to_the_next(serve: Serve) -> None:
    milter = serve(signing(sign), refused=b"M", greeting=SENDER_ANSWERED)
    replies = [result.reply for result in probe(milter, MAIL, MAIL)]
    assert replies == ["451 4.7.1 Later"] * 2
    assert milter.connections == 1
    assert b"A" in [command for command, _ in milter.said]


def test_a_milter_that_wants_no_mail_of_the_client_has_answered_all_of_them(serve: Serve) -> None:
    milter = serve(signing(sign), refused=b"C", greeting=CLIENT_ANSWERED)
    assert [result.reply for result in probe(milter, MAIL, MAIL)] == ["451 4.7.1 Later"] * 2
    assert milter.connections == 1


def test_what_another_domain_or_selector_signs_counts_for_nothing(serve: Serve) -> None:
    other = ProbeMail(MAIL.sender, MAIL.user, MAIL.client, {OTHER_RECORD.name: RECORD.value})
    assert failures(serve(signing(sign)), other) == ("accept", {OTHER_RECORD.name: UNSIGNED})


def test_a_header_that_is_none_leaves_the_mail_unsigned(serve: Serve) -> None:
    assert failures(serve(signing(sign, last=packet(b"h", b"\xc3\xa4 b\0c\0") + ACCEPT)))[1] == {RECORD.name: UNSIGNED}


def test_mails_of_one_client_share_a_session_and_each_says_its_login(serve: Serve) -> None:
    milter = serve(signing(sign))
    other = ProbeMail("probe@example.com", "probe@example.net", MAIL.client, MAIL.records)
    stranger = ProbeMail("probe@example.com", None, MAIL.client, MAIL.records)
    assert all(result.verified for result in probe(milter, MAIL, other, MAIL, stranger))
    assert milter.connections == 2
    users = [macros.get("{auth_authen}") for macros in milter.macros]
    assert users == ["probe@example.com", "probe@example.net", "probe@example.com", None]
    assert len({macros["i"] for macros in milter.macros}) == 4
    (first, _) = (data for command, data in milter.said if command == b"C")
    assert first.endswith(b"192.0.2.1\0")


def test_every_mail_is_another(serve: Serve) -> None:
    milter = serve(signing(sign))
    probe(milter, MAIL, MAIL)
    ids = [data for command, data in milter.said if command == b"L" and data.startswith(b"Message-ID")]
    assert len(set(ids)) == len(ids) == 2
    assert (b"R", b"<probe@probe.invalid>\0") in milter.said


def test_a_client_with_an_address_of_version_six_is_named_so(serve: Serve) -> None:
    milter = serve(signing(sign))
    probe(milter, ProbeMail(MAIL.sender, None, "2001:db8::", MAIL.records))
    assert re.search(rb"\x006..2001:db8::\x00$", dict(milter.said)[b"C"], re.DOTALL)


def test_a_milter_that_hangs_up_is_asked_again_for_the_next_mail(serve: Serve) -> None:
    def answer(message: bytes, connection: socket.socket) -> None:
        if milter.connections == 1:
            connection.shutdown(socket.SHUT_RDWR)
        else:
            signing(sign)(message, connection)

    milter = serve(answer)
    first, second = probe(milter, MAIL, MAIL)
    assert first == ProbeResult(MAIL.sender, "", (), {RECORD.name: "the milter closed the connection"})
    assert second.verified == (RECORD.name,)


def test_a_milter_that_is_silent_has_given_no_answer(serve: Serve) -> None:
    milter = serve(lambda _, __: None)
    assert failures(milter, mail_seconds=0.05) == ("", {RECORD.name: "no answer in time"})


def test_all_mails_together_end_at_the_deadline(serve: Serve) -> None:
    started = time.monotonic()
    results = probe(serve(lambda _, __: None), *[MAIL] * 100, mail_seconds=0.2, deadline=0.5)
    assert time.monotonic() - started < 5
    assert [result.reply for result in results] == [""] * 100
    assert results[-1].failed == {RECORD.name: "the time for all probes was over"}


def test_a_milter_that_never_ends_its_answer_is_not_waited_for(serve: Serve) -> None:
    def answer(_: bytes, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(PROGRESS)

    assert failures(serve(answer), mail_seconds=0.1) == ("", {RECORD.name: "no answer in time"})


def test_a_pod_that_takes_no_connection_is_asked_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    first, second = ProbeSigning(port)("127.0.0.1", (MAIL, MAIL))
    assert first == second
    assert first == ProbeResult(MAIL.sender, "", (), {RECORD.name: "no connection: Connection refused"})


@pytest.mark.parametrize(
    "greeting",
    [b"220 mail.example.com ESMTP\r\n", packet(b"O", b"\0\0\0\6"), packet(b"c"), bytes(4), b"\xff\xff\xff\xffO"],
)
def test_what_is_no_milter_is_said(serve: Serve, greeting: bytes) -> None:
    reply, failed = failures(serve(signing(sign), greeting=greeting))
    assert (reply, failed) == ("", {RECORD.name: "no connection: what answers is not a milter"})


@pytest.mark.parametrize("half", [packet(b"i"), packet(b"i", b"\0\0\0\1A"), packet(b"h", b"A")])
def test_half_a_header_is_no_answer(serve: Serve, half: bytes) -> None:
    reply, failed = failures(serve(lambda _, connection: connection.sendall(half)))
    assert (reply, failed) == ("", {RECORD.name: "the milter sent half a header field"})


def test_no_mails_need_no_pod() -> None:
    assert ProbeSigning(1)("127.0.0.1", ()) == ()

"""Send small mails through a pod's milter and verify the signatures that come back, as a receiver would.

The keys are not asked from DNS but given: this shows that a pod signs, not that the records are published. dkimpy
verifies; it takes Ed25519 from PyNaCl, which `cryptography` makes needless here.
"""

import base64
import contextlib
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime

import dkim
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from dkim.util import parse_tag_value

from mailfilter_operator import names
from mailfilter_operator.milter import Session, Verdict, change_message
from mailfilter_operator.signing import RECIPIENT, ProbeMail, ProbeResult

_UNREADABLE = (dkim.DKIMException, ArithmeticError, LookupError, TypeError, ValueError)
"""dkimpy has exceptions of its own, and lets others through where a signature or a key is not of the grammar."""
_LONGEST_REASON = 120


class ProbeSigning:
    """Probes one pod at a time; whatever goes wrong is in the results."""

    def __init__(
        self,
        port: int = names.MILTER_PORT,
        *,
        connect_seconds: float = 5.0,
        mail_seconds: float = 30.0,
        deadline: float = 120.0,
    ) -> None:
        """All mails of a call together take at most *deadline* seconds; those not sent by then have no answer."""
        self._port = port
        self._connect_seconds = connect_seconds
        self._mail_seconds = mail_seconds
        self._deadline = deadline

    def __call__(self, address: str, mails: Sequence[ProbeMail]) -> tuple[ProbeResult, ...]:
        """One result for each mail, in their order; *address* is the pod's IP."""
        with contextlib.closing(_Pod(address, self._port, self._connect_seconds, self._deadline)) as pod:
            return tuple(self._probe(pod, mail) for mail in mails)

    def _probe(self, pod: "_Pod", mail: ProbeMail) -> ProbeResult:
        message = write_message(mail.sender)
        try:
            verdict = pod.submit(mail, message, self._mail_seconds)
        except OSError as error:
            return ProbeResult(mail.sender, "", (), dict.fromkeys(mail.records, _describe(error)))
        if verdict.reply != "accept":
            reason = _cut(f"the mail was answered {verdict.reply}")
            return ProbeResult(mail.sender, verdict.reply, (), dict.fromkeys(mail.records, reason))
        failed = verify_signatures(change_message(message, verdict.changes), mail.records)
        verified = tuple(name for name in mail.records if name not in failed)
        return ProbeResult(mail.sender, verdict.reply, verified, failed)


class _Pod:
    """A pod's milter: a session that serves mail after mail, as long as they have the same client and it holds.

    rspamd takes a login for that of all later mails of the session that have none: those get a session of their own.
    """

    def __init__(self, address: str, port: int, connect_seconds: float, deadline: float) -> None:
        self._address, self._port, self._connect_seconds = address, port, connect_seconds
        self._until = time.monotonic() + deadline
        self._session: Session | None = None
        self._kind: tuple[str, bool] | None = None
        self._refusal = ""
        self._unreachable: OSError | None = None

    def submit(self, mail: ProbeMail, message: bytes, seconds: float) -> Verdict:
        """The verdict on a mail; OSError if there is none within *seconds* or before the deadline."""
        try:
            kind = (mail.client, mail.user is not None)
            if self._session is None or self._kind != kind:
                self._session = self._connect(mail.client)
                self._kind = kind
            if self._refusal:
                return Verdict(self._refusal)
            self._session.wait(self._left(seconds))
            macros = {"i": uuid.uuid4().hex[:12], **({"{auth_authen}": mail.user} if mail.user else {})}
            return self._session.submit(mail.sender, RECIPIENT, message, macros)
        except OSError:
            self.close()
            raise

    def _connect(self, client: str) -> Session:
        self.close()
        if self._unreachable is not None:
            raise self._unreachable
        seconds = self._left(self._connect_seconds)
        try:
            session = Session(self._address, self._port, seconds=seconds)
        except OSError as error:
            # A pod that takes no connection takes none a moment later: a hundred mails would wait for it.
            self._unreachable = ConnectionError(f"no connection: {_describe(error)}")
            raise self._unreachable from error
        self._session = session
        self._refusal = session.greet(client)
        return session

    def _left(self, seconds: float) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for all probes was over")
        return min(seconds, left)

    def close(self) -> None:
        """End the session, if one is open."""
        if self._session is not None:
            with contextlib.suppress(OSError):
                self._session.close()
        self._session = None


def write_message(sender: str) -> bytes:
    """A mail from *sender* that no filter minds, different from every other."""
    fields = {
        "From": sender,
        "To": RECIPIENT,
        "Subject": "Does this domain sign?",
        "Date": format_datetime(datetime.now(UTC)),
        "Message-ID": f"<{uuid.uuid4()}@{sender.partition('@')[2]}>",
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=us-ascii",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{head}\r\nThe mail filter sends this to itself and to nobody else.\r\n".encode()


def verify_signatures(message: bytes, records: Mapping[str, str]) -> dict[str, str]:
    """Of *records* those that no DKIM-Signature of *message* verifies with, each with the reason.

    Signatures with other selectors or of other domains count for nothing.
    """
    failed = dict.fromkeys(records, "the mail came back without this signature")
    verified = set()
    for name, reason in _verify_each(message, records):
        failed[name] = reason
        if not reason:
            verified.add(name)
    return {name: reason for name, reason in failed.items() if name not in verified}


def _verify_each(message: bytes, records: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Record's name and what is wrong, or nothing, of each signature that a record belongs to."""
    try:
        count = sum(name.lower() == b"dkim-signature" for name, _ in dkim.DKIM(message).headers)
    except _UNREADABLE:
        return
    for index in range(count):
        verifier = dkim.DKIM(message)
        try:
            verifier.verify_headerprep(index)
            name = f"{verifier.selector.decode()}._domainkey.{verifier.domain.decode()}".lower()
        except _UNREADABLE:
            continue
        if name not in records:
            continue
        try:
            valid = _verify(verifier, index, records[name])
            yield name, "" if valid else "the signature does not fit the mail or the record's key"
        except _UNREADABLE as error:
            yield name, _cut(f"the signature or the record is not good: {error}")


def _verify(verifier: dkim.DKIM, index: int, record: str) -> bool:
    sig, include_headers, fields = verifier.verify_headerprep(index)
    if sig[b"a"] != b"ed25519-sha256":
        return bool(verifier.verify(index, dnsfunc=lambda _name, timeout=0: record.encode()))  # noqa: ARG005
    key = _Ed25519Key(record)
    verifier.pk, verifier.ktag = key, b"ed25519"
    return bool(verifier.verify_sig_process(sig, include_headers, fields[index], None)) and key.fits


class _Ed25519Key:
    """The key of a record of RFC 8463, asked by dkimpy as it asks PyNaCl's; ValueError if the record holds none."""

    def __init__(self, record: str) -> None:
        tags = parse_tag_value(record.encode())
        if tags.get(b"k") != b"ed25519":
            raise ValueError("not an Ed25519 key")
        self._key = Ed25519PublicKey.from_public_bytes(base64.b64decode(tags[b"p"], validate=True))
        self.fits = True

    def verify(self, digest: bytes, signature: bytes) -> None:
        """Note whether it fits: an exception of ours is none that dkimpy would expect."""
        try:
            self._key.verify(signature, digest)
        except InvalidSignature:
            self.fits = False


def _describe(error: OSError) -> str:
    if isinstance(error, TimeoutError) and not error.strerror and str(error) == "timed out":
        return "no answer in time"
    return _cut(error.strerror or str(error))


def _cut(reason: str) -> str:
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 3]}..."

"""The rows of the demo's table: what a mail filter must do, each tried with real mail."""

from __future__ import annotations

import email
import smtplib
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage

from tests.mail import messages, signatures, verification, zones
from tests.mail.kubectl import KubectlError
from tests.mail.system import MailSystem


@dataclass(frozen=True)
class Outcome:
    """What was observed, and whether it is what the row promises."""

    got: str
    ok: bool


@dataclass(frozen=True)
class Row:
    """One promise of the table."""

    name: str
    expected: str
    check: Callable[[MailSystem], Outcome]

    def run(self, system: MailSystem) -> Outcome:
        """Try the promise; a missing answer is an outcome, too."""
        try:
            return self.check(system)
        except (OSError, smtplib.SMTPException, KubectlError) as error:
            return Outcome(f"{type(error).__name__}: {error}", ok=False)


def delivers_clean_mail(system: MailSystem) -> Outcome:
    """Deliver clean mail, which says what the filter authenticated."""
    message = messages.clean()
    reply = system.receive(message)
    if not reply.accepted:
        return Outcome(reply.line, ok=False)
    results = email.message_from_bytes(system.read(message)).get_all("Authentication-Results", [])
    shown = " ".join("; ".join(results).split())
    return Outcome(f"{reply.code}, Authentication-Results: {shown}", ok=bool(results))


def refuses(write: Callable[[], EmailMessage], naming: str) -> Callable[[MailSystem], Outcome]:
    """Return a check that the mail is refused for good with an answer that names *naming*."""

    def check(system: MailSystem) -> Outcome:
        reply = system.receive(write())
        return Outcome(
            reply.line, ok=reply.refused and reply.command == "DATA" and naming.lower() in reply.text.lower()
        )

    return check


def signs_outgoing_mail(system: MailSystem) -> Outcome:
    """Deliver an authenticated user's mail with a signature that a receiver can verify."""
    message = messages.clean(messages.ALICE, messages.DAVE)
    reply = system.submit(message, messages.ALICE)
    if not reply.accepted:
        return Outcome(reply.line, ok=False)
    verdict = verification.verify(system.read(message))
    if not verdict.valid:
        return Outcome(f"{reply.code}, {verdict.reason}", ok=False)
    shown = f"{reply.code}, verified: d={verdict.domain} s={verdict.selector}"
    return Outcome(shown, ok=verdict.domain == "example.com")


def publishes_what_status_says(system: MailSystem) -> Outcome:
    """Ask the server fed with the zone lines: its strings, joined, are each record's value."""
    records = [record for record in system.dns_records() if record["purpose"] == "DKIM"]
    differing = [record["name"] for record in records if zones.look_up_txt(record["name"]) != [record["value"]]]
    if differing:
        return Outcome(f"differs: {', '.join(differing)}", ok=False)
    return Outcome(f"{len(records)} records equal", ok=bool(records))


ROWS = (
    Row("clean mail", "delivered with Authentication-Results", delivers_clean_mail),
    Row("GTUBE", "refused with 5xx", refuses(messages.with_gtube, "")),
    Row(
        "EICAR as the text",
        "refused with 5xx naming the virus",
        refuses(messages.with_eicar_body, "eicar"),
    ),
    Row(
        "EICAR attached",
        "refused with 5xx naming the virus",
        refuses(messages.with_eicar_attachment, "eicar"),
    ),
    Row(
        "EICAR in a zip archive",
        "refused with 5xx naming the virus",
        refuses(messages.with_eicar_zip, "eicar"),
    ),
    Row(
        "marker that only a signature fetched over HTTP knows",
        "refused with 5xx naming it",
        refuses(messages.with_marker, signatures.MARKER_NAME),
    ),
    Row(
        "outgoing mail of a user",
        "delivered, dkimpy verifies it by DNS look-up",
        signs_outgoing_mail,
    ),
    Row("TXT answers", "equal the values in status", publishes_what_status_says),
)

"""What becomes of a mail by its virus scan, through Postfix: one mail for each policy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage, Message
from typing import Any

import pytest
from tests.e2e import changes
from tests.image.messages import encrypted_zip, macro_workbook, zipped
from tests.mail import mailbox, messages, signatures
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

POLICIES: dict[str, Any] = {
    "onVirus": "Quarantine",
    "onUnofficial": "AddHeader",
    "alerts": {"limitsExceeded": "Reject", "encrypted": "Quarantine", "macros": "TempFail"},
}
SCORES = {"addHeader": 800, "reject": 900}
"""rspamd does not like archives: what is marked or refused here is so for its scan."""


@pytest.fixture(scope="module")
def policies(installed: MailSystem) -> Iterator[MailSystem]:
    """Provide the mail system with another policy for each outcome; as before afterwards."""
    before = installed.mailfilter()["spec"]
    changes.change(installed, {"antivirus": POLICIES, "actions": SCORES})
    yield installed
    changes.restore(installed, before, "antivirus", "actions")


def attached(content: bytes, name: str) -> EmailMessage:
    return messages.with_attachment(content, "application", "octet-stream", name)


def held(system: MailSystem) -> dict[str, str]:
    """Message-ID of each mail in Postfix's hold queue -> its queue id."""

    def postfix(*command: str) -> str:
        return system.kubectl.execute("mail-test", "deployment/postfix", *command).decode()

    entries = [json.loads(line) for line in postfix("postqueue", "-j").splitlines()]
    ids = [entry["queue_id"] for entry in entries if entry["queue_name"] == "hold"]
    texts = {queue_id: message_from_bytes(postfix("postcat", "-hq", queue_id).encode()) for queue_id in ids}
    return {str(text["Message-ID"]): queue_id for queue_id, text in texts.items()}


def delivered(system: MailSystem, message: EmailMessage) -> Message:
    return message_from_bytes(system.read(message))


@pytest.mark.parametrize("kind", ["virus", "encrypted"])
def test_quarantine_is_the_hold_queue_until_somebody_decides(policies: MailSystem, kind: str) -> None:
    message = messages.with_eicar_zip() if kind == "virus" else attached(encrypted_zip(), "secret.zip")
    assert policies.receive(message).accepted

    found = eventually(lambda: held(policies).get(str(message["Message-ID"])), within_seconds=20, what="the held mail")
    arrived = mailbox.list_delivered(policies.kubectl, "example.com")
    assert str(message["Message-ID"]) not in arrived
    policies.kubectl.execute("mail-test", "deployment/postfix", "postsuper", "-H", found)
    policies.kubectl.execute("mail-test", "deployment/postfix", "postqueue", "-f")
    status = delivered(policies, message)["X-Virus-Status"]
    assert status.startswith("Infected (" if kind == "virus" else "Suspicious (Heuristics.Encrypted.")


def test_a_mark_is_delivered(policies: MailSystem) -> None:
    message = messages.with_marker()
    assert policies.receive(message).accepted

    found = delivered(policies, message)
    assert found["X-Spam"] == "Yes"
    assert found["X-Virus-Status"] == f"Infected ({signatures.MARKER_NAME}.UNOFFICIAL)"


def test_what_is_too_much_is_refused(policies: MailSystem) -> None:
    """16 files of 30 MiB in a mail of half a megabyte: more than eight times 50 MiB."""
    reply = policies.receive(attached(zipped(*(bytes([number]) * (30 << 20) for number in range(16))), "much.zip"))

    assert reply.line.startswith("554 5.7.1 Too much to scan: "), reply


def test_macros_are_deferred(policies: MailSystem) -> None:
    assert policies.receive(attached(macro_workbook(), "sums.xls")).deferred


def test_clean_mail_is_left_alone(policies: MailSystem) -> None:
    message = messages.clean()
    assert policies.receive(message).accepted

    assert {"X-Spam", "X-Virus-Status"}.isdisjoint(delivered(policies, message).keys())


def test_discarded_mail_is_taken_and_thrown_away(policies: MailSystem) -> None:
    changes.change(policies, {"antivirus": {"onVirus": "Discard"}})
    thrown, later = messages.with_eicar_body(), messages.clean()
    assert policies.receive(thrown).accepted
    assert policies.receive(later).accepted

    policies.read(later)
    arrived = mailbox.list_delivered(policies.kubectl, "example.com")
    assert str(later["Message-ID"]) in arrived
    assert str(thrown["Message-ID"]) not in arrived
    assert str(thrown["Message-ID"]) not in held(policies)

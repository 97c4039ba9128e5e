"""Sending a mail and keeping the server's answer, whatever it is."""

from __future__ import annotations

import smtplib
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.utils import parseaddr

# Postfix waits 120 s for the filter's verdict on a mail; its answer must arrive, not a time-out of our own.
TIMEOUT_SECONDS = 150
PASSWORD = "submission-test"  # noqa: S105 - of the accounts in tests/mail/image/Containerfile


@dataclass(frozen=True)
class Reply:
    """What the server said last: its code, its text and the command it answered."""

    code: int
    text: str
    command: str

    @property
    def accepted(self) -> bool:
        """The server has taken the mail over."""
        return self.command == "DATA" and self.code // 100 == 2

    @property
    def refused(self) -> bool:
        """The mail will never be taken (5xx)."""
        return self.code // 100 == 5

    @property
    def deferred(self) -> bool:
        """The sender shall try again later (4xx)."""
        return self.code // 100 == 4

    @property
    def line(self) -> str:
        """Code and text as one line."""
        return f"{self.code} {self.text}"


@dataclass(frozen=True)
class Server:
    """An SMTP server that mails are sent to."""

    host: str
    port: int = 25

    def send(self, message: EmailMessage, *, user: str = "") -> Reply:
        """Send *message* with the envelope its From and To show, after AUTH if *user* is given.

        Raises OSError or smtplib.SMTPException if there is no answer.
        """
        sender = parseaddr(message["From"])[1]
        recipient = parseaddr(message["To"])[1]
        with smtplib.SMTP(self.host, self.port, local_hostname="client.example.net", timeout=TIMEOUT_SECONDS) as smtp:
            smtp.ehlo()
            if user:
                try:
                    smtp.login(user, PASSWORD)
                except smtplib.SMTPAuthenticationError as error:
                    return Reply(error.smtp_code, _bytes(error.smtp_error).decode(), "AUTH")
            return _transact(smtp, sender, recipient, message.as_bytes(policy=policy.SMTP))


def _transact(smtp: smtplib.SMTP, sender: str, recipient: str, content: bytes) -> Reply:
    """Go on until the server has taken the mail or has refused a command."""
    code, text = smtp.mail(sender)
    if code // 100 != 2:
        return Reply(code, text.decode(), "MAIL")
    code, text = smtp.rcpt(recipient)
    if code // 100 != 2:
        return Reply(code, text.decode(), "RCPT")
    try:
        code, text = smtp.data(content)
    except smtplib.SMTPDataError as error:
        code, text = error.smtp_code, _bytes(error.smtp_error)
    return Reply(code, text.decode(), "DATA")


def _bytes(text: str | bytes) -> bytes:
    """Accept both forms that smtplib's errors hold text in."""
    return text.encode() if isinstance(text, str) else text

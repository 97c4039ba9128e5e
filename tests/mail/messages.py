"""Mails to send.

Strings that a virus or spam scanner knows are put together when they are asked for, so that no file of this
repository is itself flagged.
"""

from __future__ import annotations

import io
import zipfile
from email import policy
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

ALICE = "alice@example.com"
CAROL = "carol@example.org"
DAVE = "dave@example.net"


def eicar() -> str:
    """Return the EICAR test string, which every virus scanner reports (68 characters)."""
    return "".join(("X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"))


def gtube() -> str:
    """Return the GTUBE string, which every spam filter refuses (68 characters)."""
    return "".join(("XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-", "ANTI-UBE-TEST-EMAIL*C.34X"))


def marker() -> str:
    """Return a string that only the custom signature database of the tests knows."""
    return "-".join(("mailfilter", "test", "marker", "f0e1d2c3b4a5"))


def clean(
    sender: str = DAVE, recipient: str = ALICE, *, subject: str = "Minutes of the meeting", text: str = ""
) -> EmailMessage:
    """Write an ordinary mail with a Message-ID of its own, by which it is found again."""
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain=sender.partition("@")[2])
    message.set_content(text or "Hello,\n\nthe minutes follow tomorrow. See you on Thursday.\n\nRegards\n")
    return message


def with_gtube() -> EmailMessage:
    """Write a mail that is spam beyond doubt."""
    return clean(text=f"Please read:\n\n{gtube()}\n")


def with_eicar_body() -> EmailMessage:
    """Write a mail whose text is the EICAR string."""
    return clean(text=f"{eicar()}\n")


def with_eicar_attachment() -> EmailMessage:
    """Write a mail with the EICAR file as a (base64) attachment."""
    return with_attachment(eicar().encode(), "application", "octet-stream", "statement.com")


def with_eicar_zip() -> EmailMessage:
    """Write a mail with a zip archive that holds the EICAR file."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("statement.com", eicar())
    return with_attachment(archive.getvalue(), "application", "zip", "statement.zip")


def with_marker() -> EmailMessage:
    """Write a mail that only a signature fetched over HTTP finds."""
    return with_attachment(marker().encode(), "application", "octet-stream", "marker.bin")


def with_attachment(content: bytes, maintype: str, subtype: str, filename: str) -> EmailMessage:
    """Write a clean mail and attach *content* to it."""
    message = clean()
    message.add_attachment(content, maintype=maintype, subtype=subtype, filename=filename)
    return message

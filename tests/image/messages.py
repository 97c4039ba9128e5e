"""Messages that a filter must accept or refuse, as they come over SMTP (CRLF line ends)."""

import base64
import io
import zipfile
from email.utils import formatdate

DATE = formatdate()
"""Now: rspamd gives points for an old date, and the clean message has few to spare."""
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR" + b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE" + b"-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

DATE = formatdate()
"""When the tests began: a mail of three days ago gets a score for that."""


def message(
    body: bytes, *, sender: str = "sender@example.org", subject: str = "hello there", extra: bytes = b""
) -> bytes:
    """A plain text message; extra are more header lines with their CRLF."""
    head = (
        f"From: {sender}\r\nTo: recipient@example.com\r\nSubject: {subject}\r\n"
        f"Message-ID: <1@mail.example.org>\r\nDate: {DATE}\r\n"
    )
    return head.encode() + extra + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + body + b"\r\n"


def with_attachment(name: str, content: bytes) -> bytes:
    """A message with one attachment in base64."""
    encoded = base64.encodebytes(content).replace(b"\n", b"\r\n")
    body = (
        b"--part\r\nContent-Type: text/plain\r\n\r\nhello\r\n--part\r\n"
        b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        b'Content-Disposition: attachment; filename="' + name.encode() + b'"\r\n\r\n' + encoded + b"--part--\r\n"
    )
    head = b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="part"\r\n\r\n'
    return message(b"").partition(b"Content-Type:")[0] + head + body


def zipped(content: bytes) -> bytes:
    """A zip archive with content in one compressed file."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("inner.com", content)
    return archive.getvalue()


INFECTED = {
    "body": message(EICAR),
    "middle of the body": message(b"hello\r\n\r\n" + EICAR + b"\r\nbye"),
    "attachment": with_attachment("file.com", EICAR),
    "zip": with_attachment("file.zip", zipped(EICAR)),
}
CLEAN = message(b"hello world")

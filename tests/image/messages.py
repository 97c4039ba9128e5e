"""Messages that a filter must accept or refuse, as they come over SMTP (CRLF line ends)."""

import base64
import io
import struct
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
    return with_attachments((name, content))


def with_attachments(*parts: tuple[str, bytes]) -> bytes:
    """A message with attachments in base64, each a name and a content."""
    body = b"--part\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
    for name, content in parts:
        body += (
            b"--part\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
            b'Content-Disposition: attachment; filename="' + name.encode() + b'"\r\n\r\n'
        )
        body += base64.encodebytes(content).replace(b"\n", b"\r\n")
    head = b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="part"\r\n\r\n'
    return message(b"").partition(b"Content-Type:")[0] + head + body + b"--part--\r\n"


def zipped(*contents: bytes) -> bytes:
    """A zip archive with each content in a compressed file."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for number, content in enumerate(contents):
            file.writestr(f"inner{number}.com", content)
    return archive.getvalue()


def encrypted_zip() -> bytes:
    """A zip archive whose one file says that it is encrypted (PKWARE's appnote, general purpose bit 0)."""
    archive = bytearray(zipped(b"nobody can read this, as it is in no cipher that there is" * 4))
    archive[6] |= 1
    archive[archive.index(b"PK\1\2") + 8] |= 1
    return bytes(archive)


def macro_workbook() -> bytes:
    """A workbook of Excel 97 with one sheet, of macros: OLE2 ([MS-CFB]) around BIFF8 ([MS-XLS])."""
    sector, end, unused = 512, 0xFFFFFFFE, 0xFFFFFFFF
    sheet = struct.pack("<IBBBB", 0, 0, 1, 6, 0) + b"Macro1"
    bof = struct.pack("<HHHHI", 0x0600, 0x0005, 0, 0, 0).ljust(16, b"\0")
    records = ((0x0809, bof), (0x0085, sheet), (0x000A, b""))
    stream = b"".join(struct.pack("<HH", kind, len(data)) + data for kind, data in records).ljust(4096, b"\0")

    def entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
        text = (name + "\0").encode("utf-16-le")
        links = struct.pack("<HBBIII", len(text), kind, 1, unused, unused, child)
        return (text.ljust(64, b"\0") + links + bytes(36) + struct.pack("<IQ", start, size)).ljust(128, b"\0")

    directory = entry("Root Entry", 5, 1, end, 0) + entry("Workbook", 2, unused, 2, len(stream))
    table = [0xFFFFFFFD, end, *range(3, 10), end]
    head = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<5H", 0x3E, 3, 0xFFFE, 9, 6) + bytes(10)
    head += struct.pack("<9I", 1, 1, 0, 4096, end, 0, end, 0, 0)
    return b"".join(
        (
            head.ljust(sector, b"\xff"),
            b"".join(struct.pack("<I", number) for number in table).ljust(sector, b"\xff"),
            directory.ljust(sector, b"\0"),
            stream,
        )
    )


INFECTED = {
    "body": message(EICAR),
    "middle of the body": message(b"hello\r\n\r\n" + EICAR + b"\r\nbye"),
    "attachment": with_attachment("file.com", EICAR),
    "zip": with_attachment("file.zip", zipped(EICAR)),
}
CLEAN = message(b"hello world")

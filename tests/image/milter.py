"""A message through a milter, as Postfix would hand it over.

Run as a program it reads the message from stdin and prints the verdict as JSON, so that it can run in another network
namespace: python -m tests.image.milter PORT CLIENT-ADDRESS SENDER [USERNAME]
"""

import dataclasses
import json
import sys
import time

from mailfilter_operator import milter

PATIENCE_SECONDS = 90


@dataclasses.dataclass
class Verdict:
    """What the milter answered: reply is accept, tempfail, reject, discard, or an SMTP reply ("451 4.7.1 ...")."""

    reply: str
    headers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


def scan(
    message: bytes,
    port: int,
    *,
    client: str = "198.51.100.7",
    sender: str = "sender@example.org",
    username: str = "",
    host: str = "127.0.0.1",
) -> Verdict:
    """The milter's verdict on a message, with all header fields that it adds or changes.

    OSError if there is none within 90 seconds.
    """
    started = time.monotonic()
    session = milter.Session(host, port, seconds=PATIENCE_SECONDS)
    login = {"{auth_authen}": username} if username else {}
    refusal = session.greet(client)
    found = (
        milter.Verdict(refusal)
        if refusal
        else session.submit(sender, "recipient@example.com", message, {"i": "4F0001", **login})
    )
    seconds = time.monotonic() - started
    session.close()
    return Verdict(found.reply, [(change.name, change.value) for change in found.changes], seconds)


if __name__ == "__main__":
    options = dict(zip(("client", "sender", "username"), sys.argv[2:], strict=False))
    outcome = scan(sys.stdin.buffer.read(), int(sys.argv[1]), **options)
    print(json.dumps(dataclasses.asdict(outcome)))

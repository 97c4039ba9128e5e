"""Mail sent without a break while something is broken, and what came of each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage

from tests.mail import messages
from tests.mail.polling import eventually
from tests.mail.smtp import Reply
from tests.mail.system import MailSystem

KINDS: tuple[Callable[[], EmailMessage], ...] = (
    messages.clean,
    messages.with_eicar_body,
    messages.with_eicar_zip,
    messages.with_marker,
)

BOTH_WAYS = ("service", "pod")


@dataclass(frozen=True)
class Sent:
    """One mail, when it was begun (seconds after the start), and its answer."""

    kind: str
    way: str
    begun: float
    reply: Reply


def send_for(system: MailSystem, seconds: float, *, ways: Sequence[str] = BOTH_WAYS) -> list[Sent]:
    """Send clean mail and viruses for *seconds* by each way: through the Service, straight to the pod."""
    started = time.monotonic()

    def stream(way: str, write: Callable[[], EmailMessage]) -> list[Sent]:
        send = system.receive if way == "service" else system.receive_directly
        sent: list[Sent] = []
        while (begun := time.monotonic() - started) < seconds:
            sent.append(Sent(write.__name__, way, begun, send(write())))
            time.sleep(0.2)
        return sent

    jobs = [(way, kind) for way in ways for kind in KINDS]
    with ThreadPoolExecutor(len(jobs)) as pool:
        return [sent for result in pool.map(lambda job: stream(*job), jobs) for sent in result]


def assert_all_deferred(sent: Sequence[Sent], *, ways: Sequence[str] = BOTH_WAYS) -> None:
    """Assert that every mail was answered 451, and that every kind was tried by every way."""
    other = [mail for mail in sent if mail.reply.code != 451]
    assert not other, f"{len(other)} of {len(sent)} mails were not answered 451: {other[:5]}"
    tried = Counter((mail.way, mail.kind) for mail in sent)
    print(f"deferred with 451: {dict(tried)}; texts: {sorted({mail.reply.text for mail in sent})}")
    assert tried.keys() == {(mail_way, kind.__name__) for mail_way in ways for kind in KINDS}, tried


def wait_filtering(system: MailSystem, *, within_seconds: float, ways: Sequence[str] = ("service",)) -> float:
    """Return the seconds until clean mail is accepted and EICAR refused again by every way.

    Raises RuntimeError as soon as EICAR is accepted.
    """
    started = time.monotonic()
    for way in ways:
        send = system.receive if way == "service" else system.receive_directly

        def flows(send: Callable[[EmailMessage], Reply] = send) -> bool:
            virus = send(messages.with_eicar_body())
            if virus.accepted:
                raise RuntimeError(f"EICAR was accepted: {virus.line}")
            return virus.refused and send(messages.clean()).accepted

        eventually(flows, within_seconds=within_seconds, what=f"mail flowing again by way of the {way}")
    return time.monotonic() - started

"""A sender that does not stop while something changes and, as an MTA does, tries again what was deferred."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import EmailMessage

from tests.mail import messages
from tests.mail.polling import eventually
from tests.mail.smtp import TIMEOUT_SECONDS, Reply
from tests.mail.system import MailSystem

SENDERS = 4
PAUSE_SECONDS = 0.2
"""After each mail of a sender, so at most 20 a second are sent."""
MOST_MAILS = 20_000
"""No sender begins a new mail after so many of all."""
RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 60.0
"""What is deferred at the end is tried for that long."""
EVERY_VIRUS = 10
"""One mail in so many is EICAR."""


@dataclass
class Mail:
    """One mail and all answers to it, the last one last; each with the phase in which it was sent."""

    message: EmailMessage
    virus: bool
    replies: list[tuple[str, Reply]] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    """When each answer came, to compare with logs."""
    due: float = 0.0

    @property
    def ident(self) -> str:
        """The Message-ID."""
        return str(self.message["Message-ID"])

    @property
    def reply(self) -> Reply:
        """The last answer."""
        return self.replies[-1][1]


class ConstantMail:
    """What was sent so far, and by which phase of the test; complete when `sending` has ended."""

    def __init__(self, system: MailSystem, longest_seconds: float) -> None:
        self.mails: list[Mail] = []
        self.undisturbed = 0
        """How many answers there were since the last 451."""
        self._phase = "at first"
        self._system = system
        self._longest = time.monotonic() + longest_seconds
        self._numbers = itertools.count(1)
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._finish = threading.Event()

    def enter(self, phase: str) -> None:
        """Count what is begun from now on to *phase*; return when all that was begun before has its answer.

        So what a phase breaks is never counted to the one before it.
        """
        with self._lock:
            self._phase = phase

        def answered() -> bool:
            with self._lock:
                return not any(count for other, count in self._under_way.items() if other != phase)

        eventually(answered, within_seconds=TIMEOUT_SECONDS, what=f"answers to mail from before: {phase}")

    def deferred(self) -> Counter[str]:
        """Count the answers 451 by phase."""
        return self._count(lambda reply: reply.code == 451)

    def answered(self) -> Counter[str]:
        """Count all answers by phase."""
        return self._count(lambda _reply: True)

    def _count(self, chosen: Callable[[Reply], bool]) -> Counter[str]:
        return Counter(phase for mail in self.mails for phase, reply in mail.replies if chosen(reply))

    def finish(self) -> None:
        """Begin no more mails."""
        self._finish.set()

    def work(self) -> None:
        """Send until `finish` and try again what was deferred; raises OSError if there is no answer at all."""
        deferred: list[Mail] = []
        while not self._finish.is_set() and time.monotonic() < self._longest and len(self.mails) < MOST_MAILS:
            again = deferred and deferred[0].due <= time.monotonic()
            self._send(deferred.pop(0) if again else self._new(), deferred)
            time.sleep(PAUSE_SECONDS)
        longest = time.monotonic() + LAST_RETRY_SECONDS
        while deferred and time.monotonic() < longest:
            time.sleep(max(0.0, deferred[0].due - time.monotonic()))
            self._send(deferred.pop(0), deferred)

    def _new(self) -> Mail:
        virus = next(self._numbers) % EVERY_VIRUS == 0
        mail = Mail(messages.with_eicar_zip() if virus else messages.clean(), virus)
        self.mails.append(mail)
        return mail

    def _send(self, mail: Mail, deferred: list[Mail]) -> None:
        with self._lock:
            phase = self._phase
            self._under_way[phase] += 1
        try:
            reply = self._system.receive(mail.message)
        finally:
            with self._lock:
                self._under_way[phase] -= 1
        mail.replies.append((phase, reply))
        mail.answered.append(time.time())
        self.undisturbed = 0 if reply.deferred else self.undisturbed + 1
        if reply.deferred:
            mail.due = time.monotonic() + RETRY_SECONDS
            deferred.append(mail)


@contextlib.contextmanager
def sending(system: MailSystem, *, longest_seconds: float) -> Iterator[ConstantMail]:
    """Send mail as long as the block lasts, then until nothing is deferred any more.

    No new mail is begun after *longest_seconds*.
    """
    mail = ConstantMail(system, longest_seconds)
    with ThreadPoolExecutor(SENDERS) as pool:
        senders: list[Future[None]] = [pool.submit(mail.work) for _ in range(SENDERS)]
        try:
            yield mail
            for ended in filter(Future.done, senders):
                ended.result()  # what was raised explains more
                raise AssertionError("the changes took longer than mail was sent")
        finally:
            mail.finish()
    for sender in senders:
        sender.result()

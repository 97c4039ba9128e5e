"""Users who hand in mail without a break, each mail read where it was delivered and verified at once.

What DNS holds is the tests' own doing, so that of each signature it is known since when its record was there.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.e2e import receiver
from tests.mail import messages, zones
from tests.mail.polling import eventually
from tests.mail.smtp import Reply
from tests.mail.system import MailSystem
from tests.mail.verification import Verdict

PAUSE_SECONDS = 0.3
"""After each mail of a user."""
MOST_MAILS = 3000
"""No user begins a new mail after so many of all."""
NEGATIVE_TTL_SECONDS = 5
"""Of the test zones: so long may a receiver's resolver hold that there is no record."""


@dataclass
class Publisher:
    """Puts the records of status into the zones; `since` says of each when that began."""

    system: MailSystem
    since: dict[str, float] = field(default_factory=dict)

    def publish(self, withheld: Collection[str] = ()) -> None:
        """Let the zones hold the records of status and no others, without those that are *withheld*, by name."""
        records = [record for record in self.system.dns_records() if record["name"] not in withheld]
        started = time.monotonic()
        for name in {record["name"] for record in records} - self.since.keys():
            # What is there before it is put there is older than anybody's answer.
            self.since[name] = -math.inf if zones.look_up_txt(name) else started
        zones.load_zones(self.system.kubectl, zones.group_lines(records))
        for name in self.since.keys() - {record["name"] for record in records}:
            del self.since[name]

    def wait_records(self, names: Collection[str]) -> None:
        """Return when status says of the records of *names* that they are missing."""

        def missing() -> bool:
            states = {record["name"]: record["state"] for record in self.system.dns_records()}
            assert {name: states.get(name) for name in names} == dict.fromkeys(names, "Missing")
            return True

        eventually(missing, within_seconds=60, what=f"status that misses {', '.join(names)}")


@dataclass(frozen=True)
class Signed:
    """A mail that was handed in, how it was answered, and what a receiver says of its signatures.

    `begun` is by the monotonic clock; `ages` are the seconds from the publication of each signature's record to the
    answer.
    """

    user: str
    begun: float
    reply: Reply
    signatures: tuple[Verdict, ...] = ()
    ages: tuple[float, ...] = ()
    content: bytes = field(default=b"", repr=False)

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with it for a receiver: a signature that fails, or a key that is not or hardly published."""
        return (
            *(f"{found.record}: {found.reason}" for found in self.signatures if not found.valid),
            *(
                f"{found.record}: published {age:.1f} s before"
                for found, age in zip(self.signatures, self.ages, strict=True)
                if age < NEGATIVE_TTL_SECONDS
            ),
        )


class SignedMail:
    """All mails so far, in the order in which they were verified."""

    def __init__(self, publisher: Publisher, longest_seconds: float) -> None:
        self.mails: list[Signed] = []
        self._publisher = publisher
        self._longest = time.monotonic() + longest_seconds
        self._finish = threading.Event()
        self._work: list[Future[None]] = []

    def start(self, pool: ThreadPoolExecutor, users: Collection[str]) -> None:
        """Let the *users* begin."""
        self._work = [pool.submit(self._hand_in, user) for user in users]

    def wait_more(self, number: int) -> list[Signed]:
        """Return what is begun from now on, when there are *number* accepted mails of each user."""
        started = time.monotonic()

        def more() -> list[Signed] | None:
            self.check()
            found = [mail for mail in self.mails if mail.begun > started]
            counted = Counter(mail.user for mail in found if mail.reply.accepted)
            return found if len(counted) == len(self._work) and min(counted.values()) >= number else None

        return eventually(more, within_seconds=120, what=f"{number} more mails of each user")

    def check(self) -> None:
        """Raise what ended a user before its time."""
        for ended in filter(Future.done, self._work):
            ended.result()
            raise RuntimeError("the changes took longer than mail was sent")

    def finish(self) -> None:
        """Begin no more mails."""
        self._finish.set()

    def results(self) -> None:
        """Raise what a user raised."""
        for user in self._work:
            user.result()

    def _hand_in(self, user: str) -> None:
        while not self._finish.is_set() and time.monotonic() < self._longest and len(self.mails) < MOST_MAILS:
            self.mails.append(self._send(user))
            time.sleep(PAUSE_SECONDS)

    def _send(self, user: str) -> Signed:
        system = self._publisher.system
        message, begun = messages.clean(user, messages.DAVE), time.monotonic()
        reply = system.submit(message, user)
        answered = time.monotonic()
        if not reply.accepted:
            return Signed(user, begun, reply)
        content = system.read(message)
        signatures = receiver.verify_each(content)
        ages = tuple(answered - self._publisher.since.get(found.record, answered) for found in signatures)
        return Signed(user, begun, reply, signatures, ages, content)


@contextlib.contextmanager
def sending(publisher: Publisher, users: Collection[str], *, longest_seconds: float = 420) -> Iterator[SignedMail]:
    """Let *users* hand in mail as long as the block lasts, each to one receiver; no new one after *longest_seconds*."""
    mail = SignedMail(publisher, longest_seconds)
    with ThreadPoolExecutor(len(users)) as pool:
        mail.start(pool, users)
        try:
            yield mail
            mail.check()
        finally:
            mail.finish()
    mail.results()


def assert_signed(mails: Collection[Signed], expected: Mapping[str, int]) -> None:
    """Assert of the accepted *mails* that each has the number of signatures *expected* of its user, all good."""
    accepted = [mail for mail in mails if mail.reply.accepted]
    senders = {mail.user for mail in accepted}
    assert senders == set(expected), senders
    unsigned = [mail for mail in accepted if not mail.signatures]
    assert not unsigned, f"{len(unsigned)} of {len(accepted)} mails are unsigned: {unsigned[:3]}"
    faults = {fault for mail in accepted for fault in mail.faults}
    assert not faults, faults
    others = [mail for mail in accepted if len(mail.signatures) != expected[mail.user]]
    assert not others, f"{len(others)} mails with another number of signatures: {others[:3]}"
    foreign = {
        (mail.user, found.domain)
        for mail in accepted
        for found in mail.signatures
        if mail.user.partition("@")[2] != found.domain
    }
    assert not foreign, foreign


def describe(mails: Collection[Signed]) -> str:
    """Count what became of *mails*."""
    accepted = [mail for mail in mails if mail.reply.accepted]
    signatures = sum(len(mail.signatures) for mail in accepted)
    unsigned, failing = sum(not mail.signatures for mail in accepted), sum(bool(mail.faults) for mail in accepted)
    return (
        f"{len(accepted)} mails accepted, {len(mails) - len(accepted)} deferred, {signatures} signatures verified, "
        f"{unsigned} unsigned, {failing} failing"
    )

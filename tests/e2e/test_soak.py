"""P2: no mail is lost, and no clean mail refused for good, while configuration and image change and pods go.

SOAK_MINUTES is how long; without it every kind of change happens once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from tests.cluster.connection import Connection
from tests.e2e import constant_mail, disturbances
from tests.e2e.constant_mail import ConstantMail, Mail
from tests.e2e.disturbances import PHASES, Filter
from tests.mail import mailbox, messages
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

DOMAIN = messages.ALICE.partition("@")[2]
PASS_SECONDS = 900.0
"""Bound of one pass of all phases."""


@pytest.fixture
def disturbed(system: MailSystem, node: Connection) -> Iterator[Filter]:
    """Provide a MailFilter of two replicas; all that is changed about it is undone afterwards."""
    made = Filter(system, node)
    yield made
    made.restore()


def test_no_mail_is_lost_or_accepted_unscanned_whatever_happens(
    disturbed: Filter, figure: Callable[[str], None]
) -> None:
    """An MTA that tries again delivers every clean mail once; each change also has to tell the truth (P6)."""
    seconds = 60 * float(os.environ.get("SOAK_MINUTES") or 0)
    with constant_mail.sending(disturbed.system, longest_seconds=seconds + PASS_SECONDS) as mail:
        disturbances.disturb(disturbed, mail, seconds)
    clean = [sent for sent in mail.mails if not sent.virus]
    viruses = [sent for sent in mail.mails if sent.virus]
    answered, deferred = mail.answered(), mail.deferred()
    figure(f"soak: {len(clean)} clean mails and {len(viruses)} with EICAR sent, in the end {_ends(mail.mails)}")
    for phase in PHASES:
        figure(f"soak, {phase.name}: {answered[phase.name]} answers, {deferred[phase.name]} of them 451")
    _assert_answers(mail, clean, viruses)
    _assert_delivered_once(disturbed.system, {sent.ident for sent in clean}, {sent.ident for sent in viruses})


def _ends(mails: list[Mail]) -> str:
    """Count what became of the mails: last answers by kind and code."""
    kinds = sorted({(sent.virus, sent.reply.code) for sent in mails})
    counts = {kind: sum((sent.virus, sent.reply.code) == kind for sent in mails) for kind in kinds}
    return ", ".join(f"{count} {'EICAR' if virus else 'clean'} {code}" for (virus, code), count in counts.items())


def _assert_answers(mail: ConstantMail, clean: list[Mail], viruses: list[Mail]) -> None:
    """Assert that clean mail is accepted in the end and never refused, and EICAR refused and never accepted.

    With nothing killed by force, nothing is deferred either.
    """
    answered, deferred = mail.answered(), mail.deferred()
    assert all(answered[phase.name] for phase in PHASES)
    codes = {reply.code for sent in mail.mails for _, reply in sent.replies}
    assert codes <= {250, 451, 554}, codes
    assert viruses
    assert [sent for sent in viruses if any(reply.accepted for _, reply in sent.replies)] == []
    assert [sent for sent in viruses if not sent.reply.refused] == []
    assert clean
    assert [sent for sent in clean if any(reply.refused for _, reply in sent.replies)] == []
    assert [sent for sent in clean if not sent.reply.accepted] == []
    assert {phase.name: deferred[phase.name] for phase in PHASES if not phase.forced and deferred[phase.name]} == {}


def _assert_delivered_once(system: MailSystem, clean: set[str], viruses: set[str]) -> None:
    """Assert that every clean mail lies in the mailbox, and lies there once; no virus does."""

    def arrived() -> bool:
        missing = clean - mailbox.list_delivered(system.kubectl, DOMAIN).keys()
        assert not missing, f"{len(missing)} of {len(clean)} mails are not delivered"
        return True

    eventually(arrived, within_seconds=60, what="delivery of what was accepted", every_seconds=1)
    delivered = mailbox.list_delivered(system.kubectl, DOMAIN)
    assert {ident: delivered[ident] for ident in clean if delivered[ident] != 1} == {}
    assert delivered.keys() & viruses == set()

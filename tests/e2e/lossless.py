"""P1 and P2 of constant mail: every clean mail delivered, once, and never refused; no virus accepted."""

from __future__ import annotations

from collections.abc import Collection

from tests.e2e.constant_mail import ConstantMail, Mail
from tests.mail import mailbox, messages
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

DOMAIN = messages.ALICE.partition("@")[2]


def describe(mail: ConstantMail) -> str:
    """Count what was sent, and what became of it: last answers by kind and code."""
    clean, viruses = _sorted(mail)
    kinds = sorted({(sent.virus, sent.reply.code) for sent in mail.mails})
    counts = {kind: sum((sent.virus, sent.reply.code) == kind for sent in mail.mails) for kind in kinds}
    ends = ", ".join(f"{count} {'EICAR' if virus else 'clean'} {code}" for (virus, code), count in counts.items())
    return f"{len(clean)} clean mails and {len(viruses)} with EICAR sent, in the end {ends}"


def assert_lossless(system: MailSystem, mail: ConstantMail, phases: Collection[str], forced: Collection[str]) -> None:
    """Assert that clean mail is delivered in the end and never refused, and EICAR refused and never accepted.

    Mail was sent in all *phases*, and deferred only in *forced* ones, in which something was killed.
    """
    clean, viruses = _sorted(mail)
    answered, deferred = mail.answered(), mail.deferred()
    assert all(answered[phase] for phase in phases)
    codes = {reply.code for sent in mail.mails for _, reply in sent.replies}
    assert codes <= {250, 451, 554}, codes
    assert viruses
    assert [sent for sent in viruses if any(reply.accepted for _, reply in sent.replies)] == []
    assert [sent for sent in viruses if not sent.reply.refused] == []
    assert clean
    assert [sent for sent in clean if any(reply.refused for _, reply in sent.replies)] == []
    assert [sent for sent in clean if not sent.reply.accepted] == []
    assert {phase: deferred[phase] for phase in phases if phase not in forced and deferred[phase]} == {}
    _assert_delivered_once(system, {sent.ident for sent in clean}, {sent.ident for sent in viruses})


def _sorted(mail: ConstantMail) -> tuple[list[Mail], list[Mail]]:
    return [sent for sent in mail.mails if not sent.virus], [sent for sent in mail.mails if sent.virus]


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

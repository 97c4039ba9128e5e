"""The main job, with real mail: the demo, and what is told about signed mail in more detail."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

from tests.demo.rows import ROWS
from tests.mail import messages, verification
from tests.mail.system import MailSystem


def test_every_row_of_the_demo_holds(demo: subprocess.CompletedProcess[str], figure: Callable[[str], None]) -> None:
    assert demo.returncode == 0, demo.stdout
    assert len(re.findall(r" yes *$", demo.stdout, re.MULTILINE)) == len(ROWS), demo.stdout
    (first,) = re.findall("From applying .*", demo.stdout)
    figure(first)


def test_each_domain_signs_with_its_own_key(system: MailSystem) -> None:
    for user in (messages.ALICE, messages.CAROL):
        message = messages.clean(user, messages.DAVE)
        assert system.submit(message, user).accepted
        verdict = verification.verify(system.read(message))
        assert verdict.valid, verdict.reason
        assert verdict.domain == user.partition("@")[2]


def test_a_changed_mail_does_not_verify(system: MailSystem) -> None:
    """The verifier of these tests can say no."""
    message = messages.clean(messages.ALICE, messages.DAVE)
    assert system.submit(message, messages.ALICE).accepted
    delivered = system.read(message)
    assert not verification.verify(delivered.replace(b"Thursday", b"Friday")).valid


def test_incoming_mail_in_our_name_is_not_signed(system: MailSystem) -> None:
    """Whoever has not authenticated gets no signature, whatever From says."""
    message = messages.clean(messages.ALICE, messages.CAROL)
    assert system.receive(message).accepted
    assert b"\nDKIM-Signature:" not in system.read(message)


def test_a_user_gets_no_signature_of_another_domain(system: MailSystem) -> None:
    message = messages.clean(messages.CAROL, messages.DAVE)
    assert system.submit(message, messages.ALICE).accepted
    assert b"\nDKIM-Signature:" not in system.read(message)

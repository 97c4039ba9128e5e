"""P2: no mail is lost, and no clean mail refused for good, while configuration and image change and pods go.

SOAK_MINUTES is how long; without it every kind of change happens once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from tests.cluster.connection import Connection
from tests.e2e import constant_mail, disturbances, lossless
from tests.e2e.disturbances import PHASES, Filter
from tests.mail.system import MailSystem

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
    answered, deferred = mail.answered(), mail.deferred()
    figure(f"soak: {lossless.describe(mail)}")
    for phase in PHASES:
        figure(f"soak, {phase.name}: {answered[phase.name]} answers, {deferred[phase.name]} of them 451")
    forced = {phase.name for phase in PHASES if phase.forced}
    lossless.assert_lossless(disturbed.system, mail, [phase.name for phase in PHASES], forced)

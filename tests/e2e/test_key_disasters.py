"""P3 and P4 when everything but the keys is lost, when they are lost, and when two operators think that they are one.

A rotation waits all the while: the old keys sign, and the new ones, whose records nobody has published, never do.
What becomes of a deleted keyring is in test_lost_secrets.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.demo import installation
from tests.e2e import changes, keys, operators, pods, signed_mail
from tests.e2e.keys import Line
from tests.e2e.signed_mail import Publisher, Signed
from tests.mail import messages
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

SIGNATURES = {messages.ALICE: 1, messages.CAROL: 1}
LINES = 2


@dataclass(frozen=True)
class Standing:
    """A MailFilter with its keys."""

    mailfilter: dict[str, Any]
    active: dict[Line, str]
    pending: dict[Line, str]
    secrets: dict[str, dict[str, Any]]

    def assert_still(self, system: MailSystem) -> None:
        """Assert that its keys are these, and do what they did."""
        assert keys.in_state(system, "Active") == self.active
        assert keys.in_state(system, "Pending") == self.pending
        assert keys.private(keys.secrets(system)) == keys.private(self.secrets)


def _look(system: MailSystem) -> Standing:
    active, pending = keys.in_state(system, "Active"), keys.in_state(system, "Pending")
    return Standing(system.mailfilter(), active, pending, keys.secrets(system))


@pytest.fixture(scope="module")
def rotating(installed: MailSystem) -> Iterator[Publisher]:
    """Provide zones without the new records of a rotation; MailFilter and keys are as before afterwards."""
    before = keys.secrets(installed)
    try:
        publisher = Publisher(installed)
        publisher.publish()
        changes.patch_spec(installed, {"dkim": {"rotationID": "waits"}})
        publisher.wait_records(keys.records(keys.wait_state(installed, "Pending", LINES, other_than={})))
        yield publisher
    finally:
        keys.start_over(installed, before)


@pytest.fixture
def publisher(rotating: Publisher, system: MailSystem) -> Publisher:
    """Provide the rotation that waits, with mail flowing."""
    assert rotating.system is system
    return rotating


def test_a_mailfilter_restored_without_status_goes_on_where_it_was(
    publisher: Publisher, figure: Callable[[str], None]
) -> None:
    """Its pods have stayed, and nobody notices."""
    system, before = publisher.system, _look(publisher.system)
    with signed_mail.sending(publisher, SIGNATURES) as mail:
        mail.wait_more(2)
        keys.delete_mailfilter(system, "--cascade=orphan")
        _apply_again(system, before.mailfilter)
        mail.wait_more(5)
    figure(f"status lost: {signed_mail.describe(mail.mails)}")
    assert {sent.reply.code for sent in mail.mails} == {250}
    _assert_signed_by(mail.mails, before.active)
    before.assert_still(system)


def test_a_namespace_restored_from_a_backup_signs_with_the_same_keys(
    publisher: Publisher, figure: Callable[[str], None]
) -> None:
    """While there is no filter mail is deferred; what is accepted is signed from the first one on."""
    system, before = publisher.system, _look(publisher.system)
    with signed_mail.sending(publisher, SIGNATURES) as mail:
        keys.delete_mailfilter(system)
        keys.delete_secrets(system)
        assert keys.secrets(system) == {}
        keys.put_back(system, before.secrets)
        _apply_again(system, before.mailfilter)
        mail.wait_more(5)
    figure(f"namespace restored: {signed_mail.describe(mail.mails)}")
    others = [sent.reply for sent in mail.mails if not sent.reply.accepted]
    assert others, "the filter was never away"
    assert all(reply.deferred for reply in others), others
    _assert_signed_by(mail.mails, before.active)
    before.assert_still(system)


def test_deleted_key_secrets_come_back_from_the_keyring(publisher: Publisher, figure: Callable[[str], None]) -> None:
    """Those that sign, with the same bytes; one that waits has never signed, and is made anew."""
    system = publisher.system
    active, pending = keys.in_state(system, "Active"), keys.in_state(system, "Pending")
    secrets = keys.private(keys.secrets(system))
    with signed_mail.sending(publisher, SIGNATURES) as mail:
        mail.wait_more(2)
        keys.delete_secrets(system)
        # Secrets are not watched: they are looked at on each pass, and any event of the MailFilter makes one.
        changes.cause_look(system, "mailfilter", system.name)
        new = keys.wait_state(system, "Pending", LINES, other_than=pending)
        publisher.wait_records(keys.records(new))
        mail.wait_more(5)
    figure(f"key Secrets deleted: {signed_mail.describe(mail.mails)}")
    assert {sent.reply.code for sent in mail.mails} == {250}
    _assert_signed_by(mail.mails, active)
    assert keys.in_state(system, "Active") == active
    names = _names(system, "Active")
    found = keys.private(keys.secrets(system))
    assert {name: found[name] for name in names} == {name: secrets[name] for name in names}
    assert found.keys() == secrets.keys()


def test_two_operators_make_one_key_for_each_place(publisher: Publisher, figure: Callable[[str], None]) -> None:
    """The first stands still while it makes keys, the second takes its place, the first goes on."""
    system, kubectl = publisher.system, publisher.system.kubectl
    active, pending = keys.in_state(system, "Active"), keys.in_state(system, "Pending")
    watched = ("secrets", f"{keys.SELECTOR}{system.name}")
    with (
        pods.watched(system, *watched) as states,
        signed_mail.sending(publisher, SIGNATURES) as mail,
        operators.two(kubectl),
    ):
        first = eventually(
            lambda: operators.lease_holder(kubectl), within_seconds=30, what="an operator that may write"
        )
        changes.patch_spec(system, {"dkim": {"keyBits": 3072}})
        with operators.paused(kubectl, first):
            second = eventually(
                lambda: _other(operators.lease_holder(kubectl), first), within_seconds=60, what="another"
            )
            new = keys.wait_state(system, "Pending", LINES, other_than=pending)
        _wait_stopped(system, first)
        publisher.wait_records(keys.records(new))
        mail.wait_more(3)
        waiting = list(mail.mails)
        publisher.publish()
        assert keys.wait_state(system, "Active", LINES, other_than=active) == new
        mail.wait_more(3)
        assert operators.lease_holder(kubectl) == second
    figure(f"two operators: {signed_mail.describe(mail.mails)}")
    assert {sent.reply.code for sent in mail.mails} == {250}
    _assert_signed_by(waiting, active)
    signed_mail.assert_signed(mail.mails, SIGNATURES)
    seen = {(state["metadata"]["name"], state["metadata"]["uid"], json.dumps(state["data"])) for state in states}
    assert sorted(name for name, _, _ in seen) == sorted(keys.secrets(system))
    assert len(seen) == 3 * LINES


def _apply_again(system: MailSystem, before: dict[str, Any]) -> None:
    """Apply what a backup has of a MailFilter; return when it is Ready."""
    metadata = {"name": system.name, "namespace": system.namespace}
    system.kubectl.apply({**{key: before[key] for key in ("apiVersion", "kind", "spec")}, "metadata": metadata})
    installation.wait_ready(system)


def _names(system: MailSystem, state: str) -> set[str]:
    """Names of the Secrets of the keys in *state*."""
    domains = system.mailfilter()["status"]["domains"]
    return {key["secretName"] for domain in domains for key in domain["keys"] if key["state"] == state}


def _other(holder: str, first: str) -> str:
    return "" if holder == first else holder


def _wait_stopped(system: MailSystem, pod: str) -> None:
    """Return when the operator in *pod* has found out that it may write no more, or was started anew."""
    arguments = ("logs", pod, "--namespace=mailfilter-system")

    def stopped() -> bool:
        text = system.kubectl.run(*arguments)
        return "stops writing" in text or "holds the Lease" not in text

    eventually(stopped, within_seconds=60, what=f"the first operator, {pod}, to stop writing")


def _assert_signed_by(mails: list[Signed], active: dict[Line, str]) -> None:
    signed_mail.assert_signed(mails, SIGNATURES)
    assert {found.record for sent in mails for found in sent.signatures} == keys.records(active)

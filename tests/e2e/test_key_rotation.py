"""P4: whatever is published when, every mail of a rotation is signed, by a key that every receiver finds in DNS.

Three domains with keys of different kinds, one of them somebody's own; all mail goes through Postfix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.demo import installation
from tests.e2e import changes, keys, pods, signed_mail
from tests.e2e.signed_mail import Publisher, Signed, SignedMail
from tests.image import milter
from tests.mail import messages
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

OWN = "rotation-own"
ROTATIONS = 3
SIGNATURES = {messages.ALICE: 1, messages.CAROL: 1, messages.DAVE: 2}
"""Of each user's mail: an RSA key of 2048 bits, one of 4096 that somebody brought, one of each algorithm."""
LINES = sum(SIGNATURES.values())
OVERLAP = "15s"
"""Longer than any mail of the tests is on its way."""
MILTER_PORT = 11332


def spec_of(rotation: int) -> dict[str, object]:
    """What changes of the MailFilter with each rotation; an own key is replaced by naming another one."""
    own = {"selector": f"own{rotation}", "privateKeySecretRef": {"name": OWN, "key": f"{rotation}.pem"}}
    domains = [
        {"name": "example.com"},
        {"name": "example.org", "dkim": own},
        {"name": "example.net", "dkim": {"algorithms": ["RSA", "Ed25519"]}},
    ]
    times = {"overlap": OVERLAP, "removeAfter": "2s" if rotation == 1 else None}
    return {"domains": domains, "dkim": {"rotationID": str(rotation), "rotation": times}}


@pytest.fixture(scope="module")
def publisher(installed: MailSystem) -> Iterator[Publisher]:
    """Provide three domains that sign, their records published; MailFilter and keys are as before afterwards."""
    system, namespace = installed, f"--namespace={installed.namespace}"
    installation.wait_ready(system)
    before = keys.secrets(system)
    _create_own_keys(system)
    try:
        changes.patch_spec(system, {**spec_of(0), "dns": {"ttlSeconds": 60}})
        made = Publisher(system)
        pending = keys.wait_state(system, "Pending", LINES, other_than={})
        made.publish()
        assert keys.wait_state(system, "Active", LINES, other_than={}) == pending
        changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])
        installation.wait_signing(system)
        yield made
    finally:
        keys.start_over(system, before)
        system.kubectl.run("delete", "secret", OWN, namespace)


def test_records_published_in_time(publisher: Publisher, figure: Callable[[str], None]) -> None:
    """The old keys are deleted in the end, as `removeAfter` says."""
    system, old = publisher.system, keys.in_state(publisher.system, "Active")
    with signed_mail.sending(publisher, SIGNATURES) as mail:
        mail.wait_more(2)
        changes.patch_spec(system, spec_of(1))
        new = keys.wait_state(system, "Pending", LINES, other_than=old)
        publisher.publish()
        assert keys.wait_state(system, "Active", LINES, other_than=old) == new
        _wait_retired(publisher, mail, old)
        assert publisher.since.keys() == keys.records(new)
        kept = _secret_names(system, new)
        eventually(lambda: keys.secrets(system).keys() == kept, within_seconds=60, what="the end of the old keys")
        after = mail.wait_more(3)
    _assert_undisturbed(mail.mails)
    figure(f"rotation, published in time: {signed_mail.describe(mail.mails)}")
    assert _signing(mail.mails) == keys.records(old) | keys.records(new)
    assert _signing(after) == keys.records(new)
    _assert_rspamd_agrees(system, after)


def test_records_published_late(publisher: Publisher, figure: Callable[[str], None]) -> None:
    """Until they are there, and seen there for longer than anybody may believe that they are not, old keys sign.

    Without `removeAfter` these stay.
    """
    system, old = publisher.system, keys.in_state(publisher.system, "Active")
    with signed_mail.sending(publisher, SIGNATURES) as mail:
        changes.patch_spec(system, spec_of(2))
        new = keys.wait_state(system, "Pending", LINES, other_than=old)
        publisher.wait_records(keys.records(new))
        waiting = mail.wait_more(5)
        assert keys.in_state(system, "Active") == old
        publisher.publish()
        assert keys.wait_state(system, "Active", LINES, other_than=old) == new
        _wait_retired(publisher, mail, old)
        after = mail.wait_more(3)
    _assert_undisturbed(mail.mails)
    figure(f"rotation, published late: {signed_mail.describe(mail.mails)}")
    assert keys.secrets(system).keys() == _secret_names(system, old, new)
    assert _signing(waiting) == keys.records(old)
    assert _signing(after) == keys.records(new)
    _assert_rspamd_agrees(system, after)


def test_records_never_published(publisher: Publisher, figure: Callable[[str], None]) -> None:
    """The old keys sign to the end; a rotation that is taken back leaves nothing that could sign one day."""
    system, old = publisher.system, keys.in_state(publisher.system, "Active")
    with signed_mail.sending(publisher, SIGNATURES) as mail:
        changes.patch_spec(system, spec_of(3))
        new = keys.wait_state(system, "Pending", LINES, other_than=old)
        publisher.wait_records(keys.records(new))
        mail.wait_more(15)
        assert keys.in_state(system, "Pending") == new
        assert keys.in_state(system, "Active") == old
        changes.patch_spec(system, spec_of(2))
        keys.wait_state(system, "Pending", 0, other_than={})
        after = mail.wait_more(3)
    _assert_undisturbed(mail.mails)
    figure(f"rotation, never published: {signed_mail.describe(mail.mails)}")
    assert _signing(mail.mails) == keys.records(old)
    assert keys.in_state(system, "Active") == old
    _assert_rspamd_agrees(system, after)


def _create_own_keys(system: MailSystem) -> None:
    """Create one Secret with a key of 4096 bits for each rotation and the beginning."""

    def make(_: int) -> str:
        key = rsa.generate_private_key(public_exponent=65537, key_size=4096)
        plain = serialization.NoEncryption()
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
        return key.private_bytes(encoding, form, plain).decode()

    with ThreadPoolExecutor(2) as pool:
        made = {f"{number}.pem": pem for number, pem in enumerate(pool.map(make, range(ROTATIONS + 1)))}
    metadata = {"name": OWN, "namespace": system.namespace}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": made}
    system.kubectl.output("create", "--filename=-", stdin=json.dumps(body).encode())


def _wait_retired(publisher: Publisher, mail: SignedMail, old: dict[keys.Line, str]) -> None:
    """Return when status asks no more for the *old* records, and they are taken out of the zones."""
    keys.wait_state(publisher.system, "Retiring", 0, other_than={})
    mail.wait_more(1)  # so what the old keys have signed is verified
    publisher.publish()
    assert not publisher.since.keys() & keys.records(old)


def _assert_undisturbed(mails: list[Signed]) -> None:
    assert {mail.reply.code for mail in mails} == {250}
    signed_mail.assert_signed(mails, SIGNATURES)


def _secret_names(system: MailSystem, *selectors: dict[keys.Line, str]) -> set[str]:
    """Names of the Secrets of keys, as status has them."""
    wanted = {(domain, selector) for line in selectors for (domain, _), selector in line.items()}
    domains = system.mailfilter()["status"]["domains"]
    return {
        key["secretName"] for domain in domains for key in domain["keys"] if (domain["name"], key["selector"]) in wanted
    }


def _signing(mails: list[Signed]) -> set[str]:
    """Names of the records of all keys that signed one of *mails*."""
    return {found.record for mail in mails for found in mail.signatures}


def _assert_rspamd_agrees(system: MailSystem, mails: list[Signed]) -> None:
    """Assert that rspamd, which gets the last of *mails* of each user from a stranger, finds all signatures good."""
    (pod,) = pods.wait_ready(system, 1)
    for user, number in SIGNATURES.items():
        mail = next(mail for mail in reversed(mails) if mail.user == user)
        content = mail.content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        found = milter.scan(content, MILTER_PORT, host=pod["status"]["podIP"], sender=user)
        (results,) = [value for name, value in found.headers if name == "Authentication-Results" and value]
        passed = re.findall(r"dkim=pass header\.d=(\S+) header\.s=(\S+)", results)
        assert len(passed) == number, results
        expected = {(found.domain, found.selector) for found in mail.signatures}
        assert {(domain, selector) for domain, selector in passed} == expected

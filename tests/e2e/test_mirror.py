"""Signatures from a private mirror (source Mirror): signed databases, fetched over HTTP, and their updates."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from tests.demo import installation
from tests.e2e import databases
from tests.mail import messages, signatures, signed_databases
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

FIRST, SECOND = 5, 6


@pytest.fixture
def mirrored(system: MailSystem) -> Iterator[MailSystem]:
    """Provide another MailFilter, fed by a mirror, with port 2525 leading to its pod."""
    publish_version(system, FIRST)
    other = MailSystem(system.kubectl, system.address, system.namespace, "mirrored")
    system.kubectl.apply(_mailfilter(other))
    try:
        installation.wait_ready(other)
        other.point_at_pod()
        yield other
    finally:
        system.kubectl.run("delete", "mailfilter", other.name, f"--namespace={other.namespace}")
        signatures.publish(system.kubectl, {signatures.DATABASE: signatures.custom_database()})


def test_signed_databases_come_from_the_mirror(mirrored: MailSystem) -> None:
    """Freshclam asks the mirror over HTTP, verifies what it gets, clamd loads it; a later version follows."""
    known = signed_databases.body_signatures(signed_databases.read(FIRST))
    later = signed_databases.body_signatures(signed_databases.read(SECOND))
    (new,) = later.keys() - known.keys()
    for name, pattern in known.items():
        reply = mirrored.receive_directly(_carrying(pattern))
        assert reply.refused, reply
        assert name in reply.text
    assert mirrored.receive_directly(_carrying(later[new])).accepted
    assert mirrored.receive_directly(messages.with_eicar_zip()).refused
    requests = mirrored.kubectl.run("logs", "--namespace=mail", "deployment/signatures")
    assert "GET /daily.cvd" in requests

    publish_version(mirrored, SECOND)
    (pod,) = mirrored.filter_pods()
    databases.check_now(pod)

    def found() -> bool:
        reply = mirrored.receive_directly(_carrying(later[new]))
        return reply.refused and new in reply.text

    eventually(found, within_seconds=60, what=f"{new} refused after the update")


def _carrying(pattern: bytes) -> EmailMessage:
    return messages.with_attachment(pattern, "application", "octet-stream", "sample.bin")


def publish_version(system: MailSystem, version: int) -> None:
    """Offer one version of the signed test database under the names of ClamAV's own databases."""
    database = signed_databases.read(version)
    files = {f"{name}.cvd": database for name in ("main", "daily", "bytecode")}
    signatures.publish(system.kubectl, {**files, signatures.DATABASE: signatures.custom_database()})
    # A new pod has the new content at once; a running one only after the kubelet's next look at its volumes.
    system.kubectl.run("rollout", "restart", "deployment/signatures", "--namespace=mail")
    system.kubectl.wait_rolled_out("mail", "deployment/signatures")


def _mailfilter(system: MailSystem) -> dict[str, object]:
    source = {"source": "Mirror", "mirrorURL": "http://signatures.mail.svc:8080"}
    return {
        "apiVersion": "mailfilter.dev/v1alpha1",
        "kind": "MailFilter",
        "metadata": {"name": system.name, "namespace": system.namespace},
        "spec": {"domains": [{"name": "example.net"}], "antivirus": {"signatures": source}},
    }

"""The mail system around the filter: Postfix, BIND and the signature server, as pods of the test cluster."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tests.mail import mailbox, signatures, zones
from tests.mail.kubectl import Kubectl
from tests.mail.polling import eventually
from tests.mail.smtp import Reply, Server

MANIFESTS = Path(__file__).parent / "manifests"


@dataclass(frozen=True)
class MailSystem:
    """Postfix as seen from its clients, and the MailFilter behind it."""

    kubectl: Kubectl
    address: str
    namespace: str = "mail"
    name: str = "mx"

    def receive(self, message: EmailMessage) -> Reply:
        """Send *message* from outside, through the filter's Service."""
        return Server(self.address, 25).send(message)

    def receive_directly(self, message: EmailMessage) -> Reply:
        """Send *message* from outside, through the pod chosen by `point_at_pod`, ready or not."""
        return Server(self.address, 2525).send(message)

    def submit(self, message: EmailMessage, user: str) -> Reply:
        """Send *message* as an authenticated user."""
        return Server(self.address, 587).send(message, user=user)

    def read(self, message: EmailMessage) -> bytes:
        """Return *message* as it was delivered."""
        return mailbox.read_delivered(self.kubectl, message["Message-ID"], message["To"])

    def mailfilter(self) -> dict[str, Any]:
        """Return the MailFilter as the API server shows it."""
        return self.kubectl.get("mailfilter", self.name, f"--namespace={self.namespace}")

    def dns_records(self) -> list[dict[str, str]]:
        """Return the records that the MailFilter's status asks to publish."""
        records: list[dict[str, str]] = self.mailfilter().get("status", {}).get("dnsRecords", [])
        return records

    def publish_records(self) -> None:
        """Load zones made of the status's zone lines into the server."""
        zones.load_zones(self.kubectl, zones.group_lines(self.dns_records()))

    def filter_pods(self) -> list[dict[str, Any]]:
        """Return the filter's pods that are not about to end."""
        pods = self.kubectl.items(
            "pods",
            f"--namespace={self.namespace}",
            f"--selector=app.kubernetes.io/name=mailfilter,app.kubernetes.io/instance={self.name}",
        )
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def point_at_pod(self) -> None:
        """Let port 2525 use the filter pod's own address as its milter, past Service and readiness."""

        def address() -> str | None:
            return next((pod["status"]["podIP"] for pod in self.filter_pods() if "podIP" in pod["status"]), None)

        pod_address = eventually(address, within_seconds=60, what="the filter pod's address")
        change = f"postconf -e direct_milter=inet:{pod_address}:11332 && postfix reload"
        self.kubectl.execute("mail-test", "deployment/postfix", "sh", "-c", change)


def start(kubectl: Kubectl) -> MailSystem:
    """Apply the mail system's manifests and return when its pods are ready."""
    kubectl.apply_files([MANIFESTS / "namespaces.yaml"])
    signatures.publish(kubectl, {signatures.DATABASE: signatures.custom_database()})
    kubectl.apply_files([MANIFESTS / name for name in ("postfix.yaml", "bind.yaml", "signatures.yaml")])
    for namespace, workload in (("mail-test", "postfix"), ("mail-test", "bind"), ("mail", "signatures")):
        kubectl.wait_rolled_out(namespace, f"deployment/{workload}")
    system = connect(kubectl)
    # kube-proxy follows the pods' readiness with a delay of its own.
    eventually(lambda: _answers(system.address, 25), within_seconds=30, what="Postfix at its Service's address")
    eventually(lambda: _answers(zones.NAMESERVER, 53), within_seconds=30, what="BIND at its Service's address")
    return system


def connect(kubectl: Kubectl) -> MailSystem:
    """Return the mail system that `start` has started."""
    address: str = kubectl.get("service", "postfix", "--namespace=mail-test")["spec"]["clusterIP"]
    return MailSystem(kubectl, address)


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True

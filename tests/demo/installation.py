"""Installing the operator and a MailFilter by kubectl, as a user does."""

from __future__ import annotations

import time
from pathlib import Path

from tests.mail import messages
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "manifests" / "install.yaml"
NAMESPACE = ROOT / "manifests" / "namespace.yaml"
MAILFILTER = Path(__file__).parent / "mailfilter.yaml"
OPERATOR_NAMESPACE = "mailfilter-system"
OPERATOR_PODS = (f"--namespace={OPERATOR_NAMESPACE}", "--selector=app.kubernetes.io/name=mailfilter-operator")
"""Arguments of `kubectl get pods`."""

_SHARED_SIGNATURES = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "mailfilter-signatures", "namespace": OPERATOR_NAMESPACE},
    "data": {"freshclam.conf": "PrivateMirror http://signatures.mail.svc:8080\n"},
}
"""There is no way out of the cluster: the shared signatures come from the web server of the mail system."""


def install_operator(system: MailSystem) -> None:
    """Apply install.yaml and return when the operator's pod is ready."""
    system.kubectl.apply_files([NAMESPACE])
    system.kubectl.apply(_SHARED_SIGNATURES)
    system.kubectl.apply_files([INSTALL])
    system.kubectl.wait_rolled_out(OPERATOR_NAMESPACE, "deployment/mailfilter-operator")


def apply_mailfilter(system: MailSystem) -> float:
    """Apply the demo's MailFilter; return the seconds until EICAR was first refused through Postfix.

    Mails are sent all the time from before the filter exists: until it scans they must be deferred.
    Raises RuntimeError if one is accepted.
    """
    started = time.monotonic()
    system.kubectl.apply_files([MAILFILTER])

    def refused() -> bool:
        reply = system.receive(messages.with_eicar_body())
        if reply.accepted:
            seconds = time.monotonic() - started
            raise RuntimeError(f"EICAR was accepted {seconds:.1f} s after the start: {reply.line}")
        return reply.refused

    eventually(refused, within_seconds=180, what="the first EICAR refused", every_seconds=0.1)
    return time.monotonic() - started


def wait_ready(system: MailSystem, *, within_seconds: int = 180) -> None:
    """Wait as a user does, by the Ready condition."""
    system.kubectl.run(
        "wait",
        "--for=condition=Ready",
        f"mailfilter/{system.name}",
        f"--namespace={system.namespace}",
        f"--timeout={within_seconds}s",
        timeout_seconds=within_seconds + 10,
    )


def wait_signing(system: MailSystem) -> None:
    """Return when every pod signs for every domain. Raises TimeoutError."""

    def signing() -> bool:
        conditions = {entry["type"]: entry for entry in system.mailfilter()["status"]["conditions"]}
        assert conditions["Signing"]["status"] == "True", conditions["Signing"]["message"]
        assert conditions["DNSPublished"]["status"] == "True", conditions["DNSPublished"]["message"]
        return True

    eventually(signing, within_seconds=120, what="signatures of all domains")


def wait_records(system: MailSystem) -> list[dict[str, str]]:
    """Return the DNS records in status when every domain of the spec has one."""
    wanted = {domain["name"] for domain in system.mailfilter()["spec"]["domains"]}

    def complete() -> list[dict[str, str]] | None:
        records = system.dns_records()
        return records if wanted <= {record["domain"] for record in records} else None

    return eventually(complete, within_seconds=60, what="DNS records of all domains in status")

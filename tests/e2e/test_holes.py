"""P1: what packaged rspamd and clamd accept unscanned (tests/image/test_upstream_holes.py) is not, through Postfix.

A clamd that is down, hangs or has no database is in test_fail_closed, an archive that is too much in test_policies, a
reload under constant mail in test_many_signatures.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from email import policy
from email.message import EmailMessage
from typing import Any

import pytest
from tests.e2e import changes, clamds, databases, processes
from tests.e2e.conftest import replace_pod
from tests.image.test_scanning import ANSWERS
from tests.mail import mailbox, messages, signatures
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

LIMIT = 50 * 1024 * 1024
"""`spec.antivirus.maxMessageSize`; Postfix takes 60 MiB on port 2525."""
TRY_AGAIN = "451 4.7.1 Virus scan failed, try again later"
WITHOUT_SCAN = ("error", "nothing", "nonsense", "limit")
"""Of the answers that are no verdict, by name."""
REDIS = "verdicts"
LATE = "known to the next database"


@pytest.fixture(scope="module")
def pod(installed: MailSystem) -> Iterator[dict[str, Any]]:
    """Provide the filter's pod to break, the same for all tests; port 2525 leads straight to it."""
    (found,) = eventually(installed.filter_pods, within_seconds=60, what="the filter's pod")
    installed.point_at_pod()
    yield found
    replace_pod(installed, found)


@pytest.fixture
def direct(pod: dict[str, Any], installed: MailSystem) -> Callable[[EmailMessage], str]:
    """Provide a function that sends a mail to the pod, which filters, and returns the answer."""

    def send(message: EmailMessage) -> str:
        return installed.receive_directly(message).line

    def filters() -> bool:
        virus, clean = send(messages.with_eicar_zip()), send(messages.clean())
        return virus.startswith("554 5.7.1 Virus found") and clean.startswith("250 ")

    assert pod
    eventually(filters, within_seconds=120, what="the pod filtering")
    return send


def attached(content: bytes) -> EmailMessage:
    return messages.with_attachment(content, "application", "octet-stream", "sample.bin")


def of_size(size: int, end: str = "") -> EmailMessage:
    """Write a mail of so many bytes that ends with *end*."""
    message = messages.clean()
    message.set_payload(f"{end}\n")
    missing = size - len(message.as_bytes(policy=policy.SMTP))
    # Each line has CRLF.
    lines, rest = divmod(missing - 2, 72)
    message.set_payload("x" * rest + "\n" + ("y" * 70 + "\n") * lines + f"{end}\n")
    assert len(message.as_bytes(policy=policy.SMTP)) == size
    return message


@pytest.mark.parametrize("answer", WITHOUT_SCAN)
def test_no_answer_but_ok_lets_mail_through(
    direct: Callable[[EmailMessage], str], pod: dict[str, Any], answer: str
) -> None:
    with clamds.answering(pod, ANSWERS[answer]):
        assert {direct(write()) for write in (messages.clean, messages.with_eicar_zip)} == {TRY_AGAIN}


def test_a_clamd_without_an_engine_lets_no_mail_through(
    direct: Callable[[EmailMessage], str], pod: dict[str, Any]
) -> None:
    """So it is left by a reload that fails where there is memory for one engine only; it answers PING all the same."""
    pattern = f"Other.Eicar:0:*:{messages.eicar().encode().hex()}\n".encode()
    with clamds.sparing(pod, {"other.ndb": pattern}) as directory:
        socket = clamds.directory(pod) / clamds.SOCKET
        assert "Other.Eicar" in direct(messages.with_eicar_body())
        assert direct(messages.clean()).startswith("250 ")
        (directory / "other.ndb").unlink()
        assert processes.ask_clamd(socket, b"RELOAD") == b"RELOADING"
        # As long as the old engine is there it scans.
        eventually(lambda: direct(messages.clean()) == TRY_AGAIN, within_seconds=30, what="451", every_seconds=2)
        assert processes.ask_clamd(socket, b"PING") == b"PONG"
        for write in (messages.clean, messages.with_eicar_body, messages.with_eicar_zip, messages.with_marker):
            assert direct(write()) == TRY_AGAIN


@pytest.mark.parametrize("missing", [1, 0])
def test_up_to_the_limit_mail_is_scanned_to_its_end(direct: Callable[[EmailMessage], str], missing: int) -> None:
    assert direct(of_size(LIMIT - missing, messages.eicar())).startswith("554 5.7.1 Virus found: ")


def test_clean_mail_of_the_greatest_size_is_accepted_and_more_is_refused_with_the_limit(
    direct: Callable[[EmailMessage], str],
) -> None:
    assert direct(of_size(LIMIT)).startswith("250 ")
    assert direct(of_size(LIMIT + 1)) == "554 5.7.1 Message larger than 50 MiB"


def test_a_clean_attachment_of_35_mb_is_delivered(
    direct: Callable[[EmailMessage], str], installed: MailSystem, figure: Callable[[str], None]
) -> None:
    message = attached(os.urandom(35_000_000))
    started = time.monotonic()
    assert direct(message).startswith("250 ")
    figure(f"an attachment of 35 MB: accepted after {time.monotonic() - started:.1f} s")

    def arrived() -> bool:
        return str(message["Message-ID"]) in mailbox.list_delivered(installed.kubectl, "example.com")

    eventually(arrived, within_seconds=30, what="its delivery", every_seconds=1)


@pytest.fixture
def remembering(
    pod: dict[str, Any], installed: MailSystem, direct: Callable[[EmailMessage], str]
) -> Iterator[Callable[[EmailMessage], str]]:
    """Provide `direct` to a filter that has a Redis, in which rspamd remembers verdicts."""
    installed.kubectl.apply(_redis(pod, installed.namespace))
    namespace = f"--namespace={installed.namespace}"
    installed.kubectl.run("wait", "--for=condition=Ready", f"pod/{REDIS}", namespace, "--timeout=60s")
    address = installed.kubectl.get("pod", REDIS, namespace)["status"]["podIP"]
    text = f'antivirus {{ servers = "{address}:6379"; }}\n'
    try:
        changes.change(installed, {"config": {"files": {"local.d/redis.conf": text}}})
        yield direct
    finally:
        changes.patch_spec(installed, {"config": None})
        changes.wait_ready_for(installed, installed.mailfilter()["metadata"]["generation"])
        installed.kubectl.run("delete", "pod", REDIS, namespace, "--grace-period=1")


def test_an_earlier_verdict_outlives_neither_its_signatures_nor_clamd(
    remembering: Callable[[EmailMessage], str], installed: MailSystem, pod: dict[str, Any]
) -> None:
    clean, late, other = messages.clean(), attached(LATE.encode()), attached(f"{LATE} too".encode())
    assert remembering(clean).startswith("250 ")
    assert remembering(late).startswith("250 ")
    remembered = installed.kubectl.execute(installed.namespace, f"pod/{REDIS}", "valkey-cli", "dbsize")
    assert int(remembered) >= 2

    pattern = f"Late.Pattern:0:*:{LATE.encode().hex()}\n".encode()
    try:
        publish(installed, signatures.custom_database() + pattern)
        databases.fetch_again([databases.directory(pod)], signatures.DATABASE)
        eventually(lambda: "Late.Pattern" in remembering(other), within_seconds=60, what="the new signature")
        assert "Late.Pattern" in remembering(late)
    finally:
        publish(installed, signatures.custom_database())

    assert remembering(clean).startswith("250 ")
    with processes.kept_under(pod["metadata"]["uid"], "clamd", signal.SIGKILL):
        assert remembering(clean) == TRY_AGAIN


def publish(system: MailSystem, database: bytes) -> None:
    """Offer *database* at the custom URL; return when it is offered."""
    signatures.publish(system.kubectl, {signatures.DATABASE: database})
    # A new pod has the new content at once; a running one only after the kubelet's next look at its volumes.
    system.kubectl.run("rollout", "restart", "deployment/signatures", f"--namespace={signatures.NAMESPACE}")
    system.kubectl.wait_rolled_out(signatures.NAMESPACE, "deployment/signatures")


def _redis(pod: dict[str, Any], namespace: str) -> dict[str, Any]:
    """Write a pod with the Valkey of the filter's own image."""
    security = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "valkey",
        "image": pod["spec"]["containers"][0]["image"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["valkey-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir", "/tmp"],  # noqa: S104
        "securityContext": security,
        "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": REDIS, "namespace": namespace},
        "spec": {
            "securityContext": pod["spec"]["securityContext"],
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }

"""What the filter's pods say and are, each asked at its own address."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

from tests.e2e import constant_mail
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

REPORT_PORT = 11380
HASH_ANNOTATION = "mailfilter.dev/config-hash"
_STATUSES = ("containerStatuses", "initContainerStatuses")


def fetch(pod: dict[str, Any], path: str) -> str:
    """Return what a pod answers on its port for reports, without a password. Raises OSError."""
    url = f"http://{pod['status']['podIP']}:{REPORT_PORT}/cgi-bin/{path}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read()).decode()


def report(pod: dict[str, Any]) -> dict[str, Any]:
    """Return what a pod reports of itself."""
    found: dict[str, Any] = json.loads(fetch(pod, "state"))
    return found


def active_hashes(system: MailSystem) -> set[str | None]:
    """Return the configurations that the pods report to serve."""
    return {report(pod)["active"] for pod in system.filter_pods()}


def told_hashes(system: MailSystem) -> set[str | None]:
    """Return the configurations that the pods are told to serve."""
    return {pod["metadata"].get("annotations", {}).get(HASH_ANNOTATION) for pod in system.filter_pods()}


def containers(system: MailSystem) -> dict[str, tuple[str, int]]:
    """Return id and number of restarts of every container of the filter's pods, by pod and name."""
    return {
        f"{pod['metadata']['name']}/{status['name']}": (status["containerID"], status["restartCount"])
        for pod in system.filter_pods()
        for kind in _STATUSES
        for status in pod["status"].get(kind, [])
    }


def wait_ready(system: MailSystem, number: int) -> list[dict[str, Any]]:
    """Return the filter's pods when there are so many, all of them ready."""

    def ready() -> list[dict[str, Any]] | None:
        pods = system.filter_pods()
        return pods if len(pods) == number and all(is_ready(pod) for pod in pods) else None

    return eventually(ready, within_seconds=180, what=f"{number} ready pods")


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Tell whether the Service sends mail to *pod*."""
    conditions = pod["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


@contextlib.contextmanager
def undisturbed(system: MailSystem, *, longest_seconds: float = 240) -> Iterator[None]:
    """Send mail as long as the block lasts, and assert that it disturbs nobody.

    That is: no pod replaced, no container restarted, every clean mail accepted and every virus refused at once.
    """
    before = containers(system)
    with constant_mail.sending(system, longest_seconds=longest_seconds) as mail:
        yield
    assert containers(system) == before
    assert mail.mails
    other = [
        (time.ctime(at), sent.virus, reply.line)
        for sent in mail.mails
        for at, (_, reply) in zip(sent.answered, sent.replies, strict=True)
        if reply.code != (554 if sent.virus else 250)
    ]
    assert not other, f"{len(other)} of {len(mail.mails)} mails (when, virus, answer): {other[:10]}"
    assert all(sent.replies for sent in mail.mails)


@contextlib.contextmanager
def watched(system: MailSystem, *what: str) -> Iterator[list[dict[str, Any]]]:
    """Provide every state of the MailFilter, or of *what* else, that the API server shows while the block lasts."""
    command = (
        "kubectl", f"--kubeconfig={system.kubectl.kubeconfig}", f"--namespace={system.namespace}",
        "get", *(what or ("mailfilter", system.name)), "--watch", "--output=json",
    )  # fmt: skip
    seen: list[dict[str, Any]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        thread = threading.Thread(target=_collect, args=(watch, seen))
        thread.start()
        try:
            eventually(lambda: seen, within_seconds=30, what="what is watched as it is before")
            yield seen
        finally:
            watch.terminate()
            thread.join()


def _collect(watch: subprocess.Popen[str], seen: list[dict[str, Any]]) -> None:
    """Read one JSON document after the other: each ends with a line of its own closing brace."""
    lines: list[str] = []
    for line in watch.stdout or ():
        lines.append(line)
        if line == "}\n":
            seen.append(json.loads("".join(lines)))
            lines = []

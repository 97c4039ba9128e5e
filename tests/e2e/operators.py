"""Stopping and starting the operator as an administrator would."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.demo.installation import OPERATOR_NAMESPACE, OPERATOR_PODS
from tests.mail.kubectl import Kubectl
from tests.mail.polling import eventually

DEPLOYMENT = "deployment/mailfilter-operator"


@contextlib.contextmanager
def stopped(kubectl: Kubectl) -> Iterator[None]:
    """Keep the operator away as long as the block lasts; return when it is ready again."""
    kubectl.run("scale", DEPLOYMENT, f"--namespace={OPERATOR_NAMESPACE}", "--replicas=0")

    def gone() -> bool:
        return not kubectl.items("pods", *OPERATOR_PODS)

    try:
        eventually(gone, within_seconds=60, what="the end of the operator's pod")
        yield
    finally:
        kubectl.run("scale", DEPLOYMENT, f"--namespace={OPERATOR_NAMESPACE}", "--replicas=1")
        kubectl.wait_rolled_out(OPERATOR_NAMESPACE, DEPLOYMENT)


def find_processes(pod_uid: str) -> list[int]:
    """Return the ids of the operator's processes in a pod, by the id of the pod in their cgroup's path."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            ours = pod_uid in (entry / "cgroup").read_text()
            if ours and b"mailfilter_operator" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def lease_holder(kubectl: Kubectl) -> str:
    """Return the name of the pod whose operator may write, "" if there is none."""
    lease = kubectl.get("lease", "mailfilter-operator", f"--namespace={OPERATOR_NAMESPACE}")
    holder: str = lease["spec"].get("holderIdentity") or ""
    return holder


@contextlib.contextmanager
def two(kubectl: Kubectl) -> Iterator[None]:
    """Have two operators as long as the block lasts; return when there is one again, which is ready."""
    kubectl.run("scale", DEPLOYMENT, f"--namespace={OPERATOR_NAMESPACE}", "--replicas=2")
    try:
        kubectl.wait_rolled_out(OPERATOR_NAMESPACE, DEPLOYMENT)
        yield
    finally:
        kubectl.run("scale", DEPLOYMENT, f"--namespace={OPERATOR_NAMESPACE}", "--replicas=1")
        eventually(
            lambda: len(kubectl.items("pods", *OPERATOR_PODS)) == 1,
            within_seconds=60,
            what="the end of one of two operators",
        )
        kubectl.wait_rolled_out(OPERATOR_NAMESPACE, DEPLOYMENT)


@contextlib.contextmanager
def paused(kubectl: Kubectl, pod: str) -> Iterator[None]:
    """Stop the operator in *pod* in the middle of what it does, and let it go on when the block ends."""
    uid = kubectl.get("pod", pod, f"--namespace={OPERATOR_NAMESPACE}")["metadata"]["uid"]
    stopped_ones = find_processes(uid)
    assert stopped_ones, f"no process of {pod}"
    for pid in stopped_ones:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in set(stopped_ones) & set(find_processes(uid)):
            os.kill(pid, signal.SIGCONT)

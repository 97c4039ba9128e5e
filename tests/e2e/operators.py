"""Stopping and starting the operator as an administrator would."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.demo.installation import OPERATOR_NAMESPACE
from tests.mail.kubectl import Kubectl
from tests.mail.polling import eventually

DEPLOYMENT = "deployment/mailfilter-operator"


@contextlib.contextmanager
def stopped(kubectl: Kubectl) -> Iterator[None]:
    """Keep the operator away as long as the block lasts; return when it is ready again."""
    kubectl.run("scale", DEPLOYMENT, f"--namespace={OPERATOR_NAMESPACE}", "--replicas=0")

    def gone() -> bool:
        return not kubectl.items("pods", f"--namespace={OPERATOR_NAMESPACE}")

    try:
        eventually(gone, within_seconds=60, what="the end of the operator's pod")
        yield
    finally:
        kubectl.run("scale", DEPLOYMENT, f"--namespace={OPERATOR_NAMESPACE}", "--replicas=1")
        kubectl.wait_rolled_out(OPERATOR_NAMESPACE, DEPLOYMENT)

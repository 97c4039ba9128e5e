"""P8: what is as it should be causes no write, not even one that changes nothing."""

from __future__ import annotations

from typing import Any

from tests.cluster.connection import Connection
from tests.demo import installation
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

ACCOUNT = "system:serviceaccount:mailfilter-system:mailfilter-operator"
READING = frozenset({"get", "list", "watch"})
OPERATOR = "deployment/mailfilter-operator"


def test_a_second_apply_and_a_restart_of_the_operator_cause_no_write(system: MailSystem, node: Connection) -> None:
    before, told = len(node.audit_events()), _annotations(system)
    system.kubectl.apply_files([installation.INSTALL, installation.MAILFILTER])
    system.kubectl.run("rollout", "restart", OPERATOR, f"--namespace={installation.OPERATOR_NAMESPACE}")
    system.kubectl.wait_rolled_out(installation.OPERATOR_NAMESPACE, OPERATOR)
    (pod,) = eventually(lambda: _pods(system), within_seconds=60, what="one operator's pod")

    def requests() -> list[dict[str, Any]]:
        return [event for event in node.audit_events()[before:] if event["user"]["username"] == ACCOUNT]

    def looked() -> bool:
        return any(
            _pod(event) == pod and event["verb"] == "get" and _resource(event) == "mailfilters" for event in requests()
        )

    eventually(looked, within_seconds=60, what="a pass of the operator that was restarted")
    eventually(lambda: _ended(system, pod), within_seconds=60, what="the end of that pass")
    writes = [event for event in requests() if event["verb"] not in READING and _resource(event) != "leases"]
    assert [(event["verb"], _resource(event)) for event in writes] == []
    of_pods = {event["verb"] for event in requests() if _resource(event) == "pods"}
    assert of_pods
    assert of_pods <= READING
    assert _annotations(system) == told


def _annotations(system: MailSystem) -> dict[str, dict[str, str]]:
    """What each pod was told, how often and when."""
    return {pod["metadata"]["name"]: pod["metadata"].get("annotations", {}) for pod in system.filter_pods()}


def _resource(event: dict[str, Any]) -> str:
    return str((event.get("objectRef") or {}).get("resource", ""))


def _pod(event: dict[str, Any]) -> str:
    """Name of the pod whose token made the request."""
    names = event["user"].get("extra", {}).get("authentication.kubernetes.io/pod-name", [""])
    return str(names[0])


def _pods(system: MailSystem) -> list[str] | None:
    """Names of the operator's pods, None unless the old one has gone."""
    names = [pod["metadata"]["name"] for pod in system.kubectl.items("pods", *installation.OPERATOR_PODS)]
    return names if len(names) == 1 else None


def _ended(system: MailSystem, pod: str) -> bool:
    """Tell whether *pod* has written its line about a pass of the MailFilter."""
    line = f"{system.namespace}/{system.name} generation="
    return line in system.kubectl.run("logs", pod, "--namespace=mailfilter-system")

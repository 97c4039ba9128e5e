"""P5: no configuration serves that the real rspamd has not tested."""

from __future__ import annotations

import json
import signal
from typing import Any

from tests.e2e import operators, processes, traffic
from tests.mail.system import MailSystem

SYNTAX_ERROR = "reject = ;;; {\n"
PERMISSIVE = "reject = 9998;\nadd_header = 9997;\n"


def test_a_planted_syntax_error_never_serves(system: MailSystem, filter_pod: dict[str, Any]) -> None:
    """The operator would repair it, so it is away: a killed rspamd takes its last good files, a new pod waits."""
    uid = filter_pod["metadata"]["uid"]
    with operators.stopped(system.kubectl):
        _plant(system, SYNTAX_ERROR)
        assert processes.send_signal(uid, "rspamd", signal.SIGKILL)
        print(f"restarted rspamd serves again after {traffic.wait_filtering(system, within_seconds=90):.1f} s")
        _delete_pod(system, filter_pod)
        system.point_at_pod()
        traffic.assert_all_deferred(traffic.send_for(system, 20))
    traffic.wait_filtering(system, within_seconds=120)


def test_a_planted_permissive_configuration_never_serves(system: MailSystem, filter_pod: dict[str, Any]) -> None:
    """What parses but was not written by the operator is not a candidate either."""
    with operators.stopped(system.kubectl):
        _plant(system, PERMISSIVE)
        _delete_pod(system, filter_pod)
        system.point_at_pod()
        traffic.assert_all_deferred(traffic.send_for(system, 10))
    traffic.wait_filtering(system, within_seconds=120)


def _plant(system: MailSystem, text: str) -> None:
    """Write *text* over the file that decides about actions."""
    name = f"{system.name}-metrics"
    data = system.kubectl.get("configmap", name, f"--namespace={system.namespace}")["data"]
    assert "override.d_actions.conf" in data
    patch = json.dumps({"data": {"override.d_actions.conf": text}})
    system.kubectl.run(
        "patch", "configmap", name, f"--namespace={system.namespace}", "--type=merge", f"--patch={patch}"
    )


def _delete_pod(system: MailSystem, pod: dict[str, Any]) -> None:
    name = pod["metadata"]["name"]
    system.kubectl.run("delete", "pod", name, f"--namespace={system.namespace}", "--grace-period=1")

"""P5: no configuration serves that the real rspamd has not tested."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

from tests.e2e import operators, processes, traffic
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

FILE = "override.d_actions.conf"
SYNTAX_ERROR = "reject = ;;; {\n"
# It parses, but the operator did not write it.
PERMISSIVE = "reject = 9998;\nadd_header = 9997;\n"


def test_what_is_planted_in_a_configmap_never_serves(
    system: MailSystem, filter_pod: dict[str, Any], figure: Callable[[str], None]
) -> None:
    """The operator would repair it, so it is away: a killed rspamd takes its last good files, a new pod waits."""
    uid = filter_pod["metadata"]["uid"]
    with operators.stopped(system.kubectl):
        _plant(system, SYNTAX_ERROR)
        _wait_seen(system, SYNTAX_ERROR)
        assert processes.send_signal(uid, "rspamd", signal.SIGKILL)
        seconds = traffic.wait_filtering(system, within_seconds=90)
        figure(f"rspamd killed, a syntax error planted: mail flows with the last good files after {seconds:.1f} s")
        for planted in (SYNTAX_ERROR, PERMISSIVE):
            _plant(system, planted)
            _delete_pods(system)
            system.point_at_pod()
            _wait_seen(system, planted)
            traffic.assert_all_deferred(traffic.send_for(system, 10))
    repaired = ("get", "configmap", f"{system.name}-metrics", f"--namespace={system.namespace}", "--output=json")
    eventually(
        lambda: json.loads(system.kubectl.run(*repaired))["data"][FILE] != PERMISSIVE,
        within_seconds=60,
        what="the ConfigMap repaired",
    )
    _look(system)
    seconds = traffic.wait_filtering(system, within_seconds=150)
    figure(f"planted configuration repaired by the operator and seen by the kubelet: mail flows after {seconds:.1f} s")


def _plant(system: MailSystem, text: str) -> None:
    """Write *text* over the file that decides about actions."""
    name = f"{system.name}-metrics"
    data = system.kubectl.get("configmap", name, f"--namespace={system.namespace}")["data"]
    assert FILE in data
    patch = json.dumps({"data": {FILE: text}})
    system.kubectl.run(
        "patch", "configmap", name, f"--namespace={system.namespace}", "--type=merge", f"--patch={patch}"
    )


def _wait_seen(system: MailSystem, text: str) -> None:
    """Return when the rspamd container has *text* before it, as a candidate."""
    (pod,) = system.filter_pods()
    _look(system)
    candidate = processes.root_of(pod["metadata"]["uid"], "rspamd") / "etc/mailfilter/candidate" / FILE
    eventually(lambda: candidate.read_text() == text, within_seconds=90, what="the planted file in the container")


def _look(system: MailSystem) -> None:
    """Make the kubelet look at the pod, and so at its volumes, at once: a changed annotation does."""
    (pod,) = system.filter_pods()
    look = f"example.com/look={time.monotonic()}"
    name = pod["metadata"]["name"]
    system.kubectl.run("annotate", "pod", name, f"--namespace={system.namespace}", "--overwrite", look)


def _delete_pods(system: MailSystem) -> None:
    for pod in system.filter_pods():
        name = pod["metadata"]["name"]
        system.kubectl.run("delete", "pod", name, f"--namespace={system.namespace}", "--grace-period=1")

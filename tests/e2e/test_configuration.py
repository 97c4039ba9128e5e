"""P5: no configuration serves that the real rspamd has not tested."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable
from typing import Any

from tests.e2e import changes, configurations, operators, pods, processes, traffic
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

FILE = "override.d_actions.conf"
PATH = "override.d/actions.conf"
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
    seconds = traffic.wait_filtering(system, within_seconds=150)
    figure(f"planted configuration repaired by the operator and seen by the kubelet: mail flows after {seconds:.1f} s")


def test_a_complete_configuration_that_rspamd_cannot_read_is_refused_and_named(
    system: MailSystem, filter_pod: dict[str, Any]
) -> None:
    """Manifest and annotation fit it, as if the operator had rendered it so; nobody but rspamd can tell."""
    before = configurations.active(filter_pod)
    modules = ("configmap", f"{system.name}-modules")
    with operators.stopped(system.kubectl):
        good = configurations.read(system)
        lines = good.data[modules]["manifest"].splitlines()
        planted = f"{hashlib.sha256(SYNTAX_ERROR.encode()).hexdigest()}  {FILE}  {PATH}"
        manifest = "".join(f"{planted if line.endswith(PATH) else line}\n" for line in lines)
        assert manifest != good.data[modules]["manifest"]
        wanted = hashlib.sha256(manifest.encode()).hexdigest()
        _plant(system, SYNTAX_ERROR)
        configurations.write(system.kubectl, system.namespace, modules, good.data[modules] | {"manifest": manifest})
        configurations.tell(system, filter_pod, **{pods.HASH_ANNOTATION: wanted})

        def refused() -> bool:
            found = pods.report(filter_pod)["refused"] or {}
            return found.get("hash") == wanted and f"{PATH}: line: 1" in found["error"]

        eventually(refused, within_seconds=90, what="the refusal in the pod's report")
        assert configurations.active(filter_pod) == before
        traffic.wait_filtering(system, within_seconds=1, ways=traffic.BOTH_WAYS)
        # One that starts has nothing older to go on with.
        _delete_pods(system)
        system.point_at_pod()
        traffic.assert_all_deferred(traffic.send_for(system, 10))
    changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])
    traffic.wait_filtering(system, within_seconds=90)
    assert pods.active_hashes(system) == {before}


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
    configurations.tell(system, pod)
    candidate = processes.root_of(pod["metadata"]["uid"], "rspamd") / "etc/mailfilter/candidate" / FILE
    eventually(lambda: candidate.read_text() == text, within_seconds=90, what="the planted file in the container")


def _delete_pods(system: MailSystem) -> None:
    for pod in system.filter_pods():
        name = pod["metadata"]["name"]
        system.kubectl.run("delete", "pod", name, f"--namespace={system.namespace}", "--grace-period=1")

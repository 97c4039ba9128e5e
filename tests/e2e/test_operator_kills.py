"""P5 and P7: an operator that is killed at any moment of a change leaves no mixture, and the next one goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from tests.demo.installation import OPERATOR_NAMESPACE, OPERATOR_PODS
from tests.e2e import changes, configurations, operators, pods
from tests.e2e.configurations import NEW, OLD
from tests.e2e.operators import DEPLOYMENT
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

MOMENTS_SECONDS = (0.05, 0.3, 0.6, 1.0)
"""After kubectl. A pass begins some 50 ms after it and has written and told everything within a second.

(That a pass can end at each single write is shown in tests/shell/test_interruption.py.)
"""


@pytest.fixture
def restored(system: MailSystem) -> Iterator[MailSystem]:
    """Provide the mail system; scores and domains are as before afterwards."""
    before = system.mailfilter()["spec"]
    yield system
    changes.restore(system, before, "metrics", "domains")


def test_an_operator_killed_in_the_middle_of_a_change_leaves_no_mixture(restored: MailSystem) -> None:
    """Each kill is at another moment after kubectl; the change goes there and back, so each begins from the other."""
    system, before = restored, restored.mailfilter()["spec"]
    there = configurations.changed_spec(system)
    back = {"metrics": before.get("metrics"), "domains": before["domains"]}
    (pod,) = system.filter_pods()
    hashes = {configurations.active(pod)}
    with pods.undisturbed(system, longest_seconds=900), configurations.observed(system, pod) as seen:
        for number, moment in enumerate(MOMENTS_SECONDS):
            is_new = number % 2 == 0
            changes.patch_spec(system, there if is_new else back)
            time.sleep(moment)
            _kill_operator(system)
            changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])
            hashes.add(changes.config_hash(system))
            assert configurations.active(pod) == changes.config_hash(system)
            seen.more()
            assert seen.mails[-1] == (NEW if is_new else OLD)
    assert seen.combinations() == {OLD, NEW}
    assert set(seen.live) == hashes
    assert len(hashes) == 2
    assert seen.mixed == []


def _kill_operator(system: MailSystem) -> None:
    """Kill the operator's processes, then its pod, so that no back-off of the kubelet delays the next one."""
    (pod,) = system.kubectl.items("pods", *OPERATOR_PODS)
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    killed = operators.find_processes(uid)
    assert killed, f"no process of {name}"
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    system.kubectl.run(
        "delete", "pod", name, f"--namespace={OPERATOR_NAMESPACE}", "--force", "--grace-period=0", "--wait=false"
    )
    eventually(lambda: _others(system, name), within_seconds=60, what="another operator's pod")
    system.kubectl.wait_rolled_out(OPERATOR_NAMESPACE, DEPLOYMENT)


def _others(system: MailSystem, name: str) -> list[str]:
    """Names of the operator's pods, without that of *name*, none if that is still there."""
    names = [pod["metadata"]["name"] for pod in system.kubectl.items("pods", *OPERATOR_PODS)]
    return [] if name in names else names

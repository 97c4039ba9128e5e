"""A mounted Secret that is deleted comes back, pods that serve go on, and one that starts meanwhile comes up."""

from __future__ import annotations

import base64

import pytest
from tests.e2e import changes, operators, pods, traffic
from tests.mail import messages, verification
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

KEYRING = "keyring"
MOUNTED = (KEYRING, "credentials")


@pytest.mark.parametrize("secret", MOUNTED)
def test_a_deleted_secret_comes_back_and_nobody_notices(two_pods: MailSystem, secret: str) -> None:
    before = _data(two_pods, secret)
    with pods.undisturbed(two_pods):
        two_pods.kubectl.run("delete", "secret", f"{two_pods.name}-{secret}", f"--namespace={two_pods.namespace}")
        for pod in two_pods.filter_pods():
            changes.cause_look(two_pods, "pod", pod["metadata"]["name"])
        changes.cause_look(two_pods, "mailfilter", two_pods.name)
        eventually(lambda: _data(two_pods, secret), within_seconds=60, what=f"the Secret {secret}")
        _wait_delivered(two_pods)
        _assert_signed(two_pods)
    # The salt of the credentials is drawn anew; private keys never are.
    assert secret != KEYRING or _data(two_pods, secret) == before
    assert _data(two_pods, secret).keys() == before.keys()


@pytest.mark.parametrize("secret", MOUNTED)
def test_a_pod_that_starts_without_a_secret_comes_up_when_it_is_back(two_pods: MailSystem, secret: str) -> None:
    """The operator is away, so that the pod has to wait for it; the other pod goes on."""
    gone, kept = (pod["metadata"]["name"] for pod in two_pods.filter_pods())
    namespace = f"--namespace={two_pods.namespace}"
    with operators.stopped(two_pods.kubectl):
        two_pods.kubectl.run("delete", "secret", f"{two_pods.name}-{secret}", namespace)
        two_pods.kubectl.run("delete", "pod", gone, namespace)
        changes.cause_look(two_pods, "pod", kept)
        starting = eventually(lambda: _new_pod(two_pods, gone, kept), within_seconds=60, what="a pod in its place")
        eventually(lambda: _waits_for(two_pods, starting, secret), within_seconds=90, what="a pod that cannot mount")
        for mail in traffic.send_for(two_pods, 5, ways=("service",)):
            assert mail.reply.accepted if mail.kind == "clean" else mail.reply.refused, mail
        _assert_signed(two_pods)
    assert {pod["metadata"]["name"] for pod in pods.wait_ready(two_pods, 2)} == {starting, kept}
    _wait_delivered(two_pods)
    _assert_signed(two_pods)


def _data(system: MailSystem, secret: str) -> dict[str, bytes]:
    """Return what a Secret holds, nothing if there is none."""
    name, namespace = f"{system.name}-{secret}", f"--namespace={system.namespace}"
    if not system.kubectl.exists("secret", name, namespace):
        return {}
    data = system.kubectl.get("secret", name, namespace)["data"]
    return {key: base64.b64decode(text) for key, text in data.items()}


def _new_pod(system: MailSystem, *others: str) -> str | None:
    found = [pod["metadata"]["name"] for pod in system.filter_pods()]
    return next((name for name in found if name not in others), None)


def _waits_for(system: MailSystem, pod: str, secret: str) -> bool:
    """Tell whether the kubelet has said that *pod* lacks the Secret."""
    selector = f"--field-selector=reason=FailedMount,involvedObject.name={pod}"
    events = system.kubectl.items("events", f"--namespace={system.namespace}", selector)
    return any(f'secret "{system.name}-{secret}" not found' in event["message"] for event in events)


def _wait_delivered(system: MailSystem) -> None:
    """Return when every pod serves what status says, and status says so."""

    def delivered() -> bool:
        wanted = {changes.config_hash(system)}
        assert pods.active_hashes(system) == pods.told_hashes(system) == wanted
        return bool(changes.condition(system.mailfilter(), "Ready").get("status") == "True")

    eventually(delivered, within_seconds=90, what="the configuration of status in every pod")


def _assert_signed(system: MailSystem) -> None:
    """Assert that mail of a user is signed with the key of before: the record has not changed."""
    message = messages.clean(messages.ALICE, messages.DAVE)
    assert system.submit(message, messages.ALICE).accepted
    assert verification.verify(system.read(message)).valid

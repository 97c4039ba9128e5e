"""From applying a MailFilter to the first EICAR refused through Postfix."""

from __future__ import annotations

from tests.bench.figures import Figure
from tests.demo import installation
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

TRIALS = 3


def measure(system: MailSystem) -> list[Figure]:
    """Install the operator, then apply the demo's MailFilter TRIALS times, each time without keys from before.

    The last one is left, Ready.
    """
    installation.install_operator(system)
    seconds = []
    for _ in range(TRIALS):
        if system.kubectl.exists("mailfilter", system.name, f"--namespace={system.namespace}"):
            _remove(system)
        seconds.append(installation.apply_mailfilter(system))
        installation.wait_ready(system)
    shown = ", ".join(f"{value:.1f} s" for value in seconds)
    basis = f"{TRIALS} times with new keys, images present, signatures of the tests only; mail is sent all the time"
    return [Figure("apply to the first EICAR refused through Postfix", shown, "<= 5 s", basis)]


def _remove(system: MailSystem) -> None:
    """Delete the MailFilter and its keys; return when its pods are gone, those that end included."""
    namespace = f"--namespace={system.namespace}"
    system.kubectl.run("delete", "mailfilter", system.name, namespace)
    system.kubectl.run("delete", "secrets", "--selector=app.kubernetes.io/component=dkim", namespace)
    selector = f"--selector=app.kubernetes.io/instance={system.name}"

    def gone() -> bool:
        return not system.kubectl.items("pods,secrets,deployments", namespace, selector)

    eventually(gone, within_seconds=120, what="the end of everything of the MailFilter")

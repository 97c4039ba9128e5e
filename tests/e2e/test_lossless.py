"""P2: no mail is lost, and no clean mail refused for good, while configuration changes and pods go."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e import changes, constant_mail
from tests.e2e.constant_mail import ConstantMail
from tests.mail import mailbox, messages
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

DOMAIN = messages.ALICE.partition("@")[2]
PHASES = ("a score changed", "the pod deleted", "the pod killed", "the score changed back")


def test_no_mail_is_lost_while_a_score_changes_and_pods_are_deleted(
    system: MailSystem, figure: Callable[[str], None]
) -> None:
    """An MTA that tries again delivers every clean mail once; each change also has to tell the truth (P6)."""
    try:
        with constant_mail.sending(system) as mail:
            _change_scores_and_delete_pods(system, mail)
    finally:
        changes.patch_spec(system, {"actions": None})
        changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])
    clean = [sent for sent in mail.mails if not sent.virus]
    viruses = [sent for sent in mail.mails if sent.virus]
    answered, deferred = mail.answered(), mail.deferred()
    counts = "; ".join(f"{phase}: {answered[phase]} answers, {deferred[phase]} of them 451" for phase in PHASES)
    figure(f"{len(clean)} clean mails and {len(viruses)} with EICAR sent; {counts}")
    assert all(answered[phase] for phase in PHASES)
    codes = {reply.code for sent in mail.mails for _, reply in sent.replies}
    assert codes <= {250, 451, 554}, codes
    assert [sent for sent in viruses if not sent.reply.refused] == []
    assert [sent for sent in clean if not sent.reply.accepted] == []
    assert clean
    assert viruses
    _assert_delivered_once(system, {sent.ident for sent in clean}, {sent.ident for sent in viruses})


def _change_scores_and_delete_pods(system: MailSystem, mail: ConstantMail) -> None:
    mail.phase = PHASES[0]
    changes.change(system, {"actions": {"reject": "14.5"}})
    mail.phase = PHASES[1]
    _delete_pod(system)
    mail.phase = PHASES[2]
    _delete_pod(system, "--grace-period=1")
    mail.phase = PHASES[3]
    changes.change(system, {"actions": None})


def _delete_pod(system: MailSystem, *options: str) -> None:
    """Delete the filter's pod, without waiting for its end; return when another one is ready."""
    (pod,) = system.filter_pods()
    name = pod["metadata"]["name"]
    system.kubectl.run("delete", "pod", name, f"--namespace={system.namespace}", "--wait=false", *options)

    def replaced() -> bool:
        pods = system.filter_pods()
        statuses = [status for pod in pods for status in pod["status"].get("containerStatuses", [])]
        ready = bool(statuses) and all(status["ready"] for status in statuses)
        return ready and name not in {pod["metadata"]["name"] for pod in pods}

    eventually(replaced, within_seconds=120, what=f"a ready pod in place of {name}")


def _assert_delivered_once(system: MailSystem, clean: set[str], viruses: set[str]) -> None:
    """Assert that every clean mail lies in the mailbox, and lies there once; no virus does."""

    def arrived() -> bool:
        missing = clean - mailbox.list_delivered(system.kubectl, DOMAIN).keys()
        assert not missing, f"{len(missing)} of {len(clean)} mails are not delivered"
        return True

    eventually(arrived, within_seconds=60, what="delivery of what was accepted", every_seconds=1)
    delivered = mailbox.list_delivered(system.kubectl, DOMAIN)
    assert {ident: delivered[ident] for ident in clean if delivered[ident] != 1} == {}
    assert delivered.keys() & viruses == set()

"""What is changed with kubectl is live in every pod while mail flows: no pod replaced, no container restarted."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

from tests.bench import live
from tests.bench.changes import MARK, SYMBOL, UNDATED
from tests.e2e import changes, pods
from tests.e2e.conftest import REPLICAS
from tests.e2e.test_web import password, status
from tests.image import milter
from tests.image.messages import message
from tests.image.milter import Verdict
from tests.mail import messages, signatures
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

SCORE = {"metrics": {"groups": [{"name": "live", "symbols": [{"name": SYMBOL, "score": "7.5"}]}]}}
DOMAIN = "live.example.net"
SECOND_DATABASE = "second.ndb"
SECOND_NAME = "MailfilterTest.Second"
SECOND_MARKER = messages.marker()[::-1]
MILTER_PORT, CONTROLLER_PORT = 11332, 11334


def test_kubectl_scales_a_mailfilter_and_its_selector_means_filter_pods_only(two_pods: MailSystem) -> None:
    namespace = f"--namespace={two_pods.namespace}"
    path = f"/apis/mailfilter.dev/v1alpha1/namespaces/{two_pods.namespace}/mailfilters/{two_pods.name}/scale"
    scale = json.loads(two_pods.kubectl.run("get", "--raw", path))
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (REPLICAS, REPLICAS)
    selected = two_pods.kubectl.items("pods", namespace, f"--selector={scale['status']['selector']}")
    sets = two_pods.kubectl.items("replicasets", namespace)
    ours = {item["metadata"]["uid"] for item in sets if item["metadata"]["ownerReferences"][0]["name"] == two_pods.name}
    owned = {
        pod["metadata"]["name"]
        for pod in two_pods.kubectl.items("pods", namespace)
        if any(owner["uid"] in ours for owner in pod["metadata"].get("ownerReferences", []))
    }
    assert {pod["metadata"]["name"] for pod in selected} == owned
    assert len(owned) == REPLICAS


def test_a_changed_score_scans_in_every_pod(two_pods: MailSystem, figure: Callable[[str], None]) -> None:
    def marked(verdict: Verdict) -> bool:
        return any(name == MARK for name, _ in verdict.headers)

    with pods.undisturbed(two_pods):
        trial = live.measure(two_pods, (UNDATED, ""), marked, lambda: changes.patch_spec(two_pods, SCORE))
    assert (trial.not_accepted, trial.gone) == (0, 0)
    figure(f"a score scans in {REPLICAS} pods {trial.seconds:.2f} s after kubectl began, under constant mail")


def test_an_added_domain_is_signed_by_every_pod(two_pods: MailSystem, figure: Callable[[str], None]) -> None:
    user = f"me@{DOMAIN}"

    def signed(verdict: Verdict) -> bool:
        return any(name == "DKIM-Signature" and f"d={DOMAIN};" in value for name, value in verdict.headers)

    def add() -> None:
        listed = two_pods.mailfilter()["spec"]["domains"]
        changes.patch_spec(two_pods, {"domains": [*listed, {"name": DOMAIN, "dkim": {"activation": "AtOnce"}}]})

    with pods.undisturbed(two_pods):
        trial = live.measure(two_pods, (message(b"hello", sender=user), user), signed, add)
    assert (trial.not_accepted, trial.gone) == (0, 0)
    figure(f"an added domain is signed by {REPLICAS} pods {trial.seconds:.2f} s after kubectl began")


def test_a_changed_password_counts_in_every_pod(two_pods: MailSystem) -> None:
    """Secrets are not watched: a pass sees the change, and any event of the MailFilter makes one."""
    old, new = password(two_pods), "a new one, with blanks & signs: ä\"'\\"
    with pods.undisturbed(two_pods):
        try:
            _set_password(two_pods, new)
            eventually(lambda: _accepted(two_pods, new), within_seconds=60, what="the new password in every pod")
            assert not any(_answers(two_pods, old))
        finally:
            _set_password(two_pods, old)
        eventually(lambda: _accepted(two_pods, old), within_seconds=60, what="the old password in every pod")
        assert not any(_answers(two_pods, new))


def test_a_changed_signature_source_takes_effect_in_every_pod(two_pods: MailSystem) -> None:
    """Also when it is taken out again: then nothing is found by its signatures any more."""
    second = f"{SECOND_NAME}:0:*:{SECOND_MARKER.encode().hex()}\n".encode()
    _publish(two_pods, {signatures.DATABASE: signatures.custom_database(), SECOND_DATABASE: second})
    urls = two_pods.mailfilter()["spec"]["antivirus"]["signatures"]["customURLs"]
    mail = messages.with_attachment(SECOND_MARKER.encode(), "application", "octet-stream", "second.bin")
    assert not any(_found(two_pods, mail))
    try:
        with pods.undisturbed(two_pods):
            added = [*urls, f"{urls[0].rpartition('/')[0]}/{SECOND_DATABASE}"]
            changes.change(two_pods, {"antivirus": {"signatures": {"customURLs": added}}})
            eventually(lambda: all(_found(two_pods, mail)), within_seconds=90, what="its signature found by every pod")
            changes.change(two_pods, {"antivirus": {"signatures": {"customURLs": urls}}})
            eventually(lambda: not any(_found(two_pods, mail)), within_seconds=90, what="its signature gone")
    finally:
        signatures.publish(two_pods.kubectl, {signatures.DATABASE: signatures.custom_database()})


def test_config_applied_is_true_only_when_every_pod_reports_the_hash_in_status(two_pods: MailSystem) -> None:
    """ConfigApplied is False with the reason Delivering until then; the pods' own word is asked for at each True."""
    before = changes.config_hash(two_pods)
    with pods.watched(two_pods) as seen:
        changes.patch_spec(two_pods, SCORE)
        generation = two_pods.mailfilter()["metadata"]["generation"]
        changes.wait_ready_for(two_pods, generation)
        assert pods.active_hashes(two_pods) == pods.told_hashes(two_pods) == {changes.config_hash(two_pods)}
        eventually(lambda: changes.condition(seen[-1], "Ready").get("status") == "True", within_seconds=30, what="it")
    states = [state for state in seen if state["metadata"]["generation"] == generation]
    applied = [changes.condition(state, "ConfigApplied") for state in states]
    told = [(entry["status"], entry["reason"]) for entry in applied if entry]
    assert [state for state, _ in itertools.groupby(told)] == [("False", "Delivering"), ("True", "Applied")]
    assert changes.config_hash(two_pods) != before


def test_metrics_need_no_password_and_the_manifest_is_the_one_that_was_told(two_pods: MailSystem) -> None:
    for pod in two_pods.filter_pods():
        metrics = pods.fetch(pod, "metrics")
        for name in ("rspamd_scanned_total", "rspamd_actions_total", "rspamd_scan_time_average"):
            assert f"\n# TYPE {name} " in metrics
        assert metrics.endswith("# EOF\n")
        manifest = two_pods.kubectl.output(
            "exec", f"--namespace={two_pods.namespace}", pod["metadata"]["name"], "--container=rspamd",
            "--", "cat", "/run/mailfilter/live/manifest",
        )  # fmt: skip
        assert hashlib.sha256(manifest).hexdigest() == pod["metadata"]["annotations"][pods.HASH_ANNOTATION]
        assert pods.report(pod)["active"] == pod["metadata"]["annotations"][pods.HASH_ANNOTATION]


def _set_password(system: MailSystem, text: str) -> None:
    patch = json.dumps({"data": {"password": base64.b64encode(text.encode()).decode()}})
    name, namespace = f"{system.name}-controller", f"--namespace={system.namespace}"
    system.kubectl.run("patch", "secret", name, namespace, "--type=merge", f"--patch={patch}")
    system.kubectl.run("annotate", "mailfilter", system.name, namespace, "--overwrite", f"example.com/look={len(text)}")


def _answers(system: MailSystem, text: str) -> list[bool]:
    """Tell for every pod whether it lets in whoever has this password."""
    secret = text.encode().decode("latin-1")
    addresses = [f"{pod['status']['podIP']}:{CONTROLLER_PORT}" for pod in system.filter_pods()]
    return [status(address, "/history", {"Password": secret}) == 200 for address in addresses]


def _accepted(system: MailSystem, text: str) -> bool:
    return all(_answers(system, text))


def _found(system: MailSystem, mail: EmailMessage) -> list[bool]:
    """Tell for every pod whether it refuses *mail* for a virus."""
    verdicts: list[Any] = [
        milter.scan(mail.as_bytes(), MILTER_PORT, host=pod["status"]["podIP"]) for pod in system.filter_pods()
    ]
    return [SECOND_NAME in verdict.reply for verdict in verdicts]


def _publish(system: MailSystem, files: dict[str, bytes]) -> None:
    """Offer *files*; a new pod has them at once."""
    signatures.publish(system.kubectl, files)
    system.kubectl.run("rollout", "restart", "deployment/signatures", "--namespace=mail")
    system.kubectl.wait_rolled_out("mail", "deployment/signatures")

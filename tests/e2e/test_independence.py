"""P7: with the operator down mail flows, and deletion removes what it should; P3: keys stay."""

from __future__ import annotations

from typing import Any

from tests.demo import installation
from tests.e2e import operators, traffic
from tests.mail import messages, verification
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

OWNED_KINDS = (
    "deployments,replicasets,pods,poddisruptionbudgets,services,configmaps,serviceaccounts,secrets,endpointslices"
)


def test_mail_flows_without_the_operator(system: MailSystem) -> None:
    with operators.stopped(system.kubectl):
        for mail in traffic.send_for(system, 5, ways=("service",)):
            assert mail.reply.accepted if mail.kind == "clean" else mail.reply.refused, mail
        message = messages.clean(messages.ALICE, messages.DAVE)
        assert system.submit(message, messages.ALICE).accepted
        assert verification.verify(system.read(message)).valid


def test_deletion_leaves_the_keys_and_nothing_else(system: MailSystem) -> None:
    """Also while the operator is away; applied again, the same keys sign and records stay."""
    keys, records = _key_secrets(system), system.dns_records()
    assert len(keys) == len(system.mailfilter()["spec"]["domains"])
    with operators.stopped(system.kubectl):
        system.kubectl.run("delete", "mailfilter", system.name, f"--namespace={system.namespace}")
        expected = {f"secret/{name}" for name in keys}
        eventually(lambda: _children(system) == expected, within_seconds=90, what=f"only {expected} left")
    system.kubectl.apply_files([installation.MAILFILTER])
    installation.wait_ready(system)
    assert installation.wait_records(system) == records
    assert _key_secrets(system) == keys
    message = messages.clean(messages.ALICE, messages.DAVE)
    assert system.submit(message, messages.ALICE).accepted
    assert verification.verify(system.read(message)).valid


def test_a_lost_keyring_comes_back_with_the_same_keys(system: MailSystem) -> None:
    keyring = ("secret", f"{system.name}-keyring", f"--namespace={system.namespace}")
    before = system.kubectl.get(*keyring)
    keys = _key_secrets(system)
    system.kubectl.run("delete", *keyring)

    def restored() -> dict[str, Any] | None:
        return system.kubectl.get(*keyring) if system.kubectl.exists(*keyring) else None

    # Secrets are not watched: they are looked at on each pass, and any event of the MailFilter makes one.
    system.kubectl.run(
        "annotate",
        "mailfilter",
        system.name,
        f"--namespace={system.namespace}",
        "--overwrite",
        "example.com/look=again",
    )
    after = eventually(restored, within_seconds=60, what="the keyring")
    assert after["data"] == before["data"]
    assert _key_secrets(system) == keys


def _key_secrets(system: MailSystem) -> dict[str, tuple[str, str]]:
    """Return uid and content of each DKIM key Secret by name."""
    secrets = system.kubectl.items("secrets", f"--namespace={system.namespace}")
    return {
        secret["metadata"]["name"]: (secret["metadata"]["uid"], str(secret.get("data")))
        for secret in secrets
        if secret["metadata"]["name"].startswith(f"{system.name}-dkim-")
    }


def _children(system: MailSystem) -> set[str]:
    """Return all objects that carry the MailFilter's label or name."""
    items = system.kubectl.items(OWNED_KINDS, f"--namespace={system.namespace}")
    return {
        f"{item['kind'].lower()}/{item['metadata']['name']}"
        for item in items
        if item["metadata"].get("labels", {}).get("app.kubernetes.io/instance") == system.name
        or item["metadata"]["name"].split("-")[0] == system.name
    }

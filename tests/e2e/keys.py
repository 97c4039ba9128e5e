"""The keys of the running MailFilter as status tells of them, and their Secrets put aside and back as from a backup."""

from __future__ import annotations

import json
from typing import Any

from tests.demo import installation
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

SELECTOR = "--selector=app.kubernetes.io/component=dkim,app.kubernetes.io/instance="
_OF_THE_CLUSTER = ("uid", "resourceVersion", "creationTimestamp", "managedFields")

Line = tuple[str, str]
"""Domain and algorithm."""


def in_state(system: MailSystem, state: str) -> dict[Line, str]:
    """Return the selectors of the keys in *state*, by line."""
    status = system.mailfilter().get("status", {})
    return {
        (domain["name"], key["algorithm"]): key["selector"]
        for domain in status.get("domains", [])
        for key in domain["keys"]
        if key["state"] == state
    }


def records(selectors: dict[Line, str]) -> set[str]:
    """Return the names of the records of keys."""
    return {f"{selector}._domainkey.{domain}" for (domain, _), selector in selectors.items()}


def wait_state(system: MailSystem, state: str, lines: int, *, other_than: dict[Line, str]) -> dict[Line, str]:
    """Return the keys in *state* when there are *lines* of them, none of them one of *other_than*."""

    def reached() -> tuple[dict[Line, str]]:
        found = in_state(system, state)
        assert len(found) == lines, found
        assert not records(found) & records(other_than), found
        return (found,)  # which counts as true if there shall be none

    return eventually(reached, within_seconds=90, what=f"{lines} other keys that are {state}")[0]


def secrets(system: MailSystem) -> dict[str, dict[str, Any]]:
    """Return the key Secrets by name."""
    namespace = f"--namespace={system.namespace}"
    found = system.kubectl.items("secrets", namespace, f"{SELECTOR}{system.name}")
    return {secret["metadata"]["name"]: secret for secret in found}


def private(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what key Secrets hold, by their names."""
    return {name: secret["data"] for name, secret in found.items()}


def put_back(system: MailSystem, backup: dict[str, dict[str, Any]]) -> None:
    """Create key Secrets as they were, never by `apply`, which would write them into an annotation."""
    for secret in backup.values():
        kept = {key: value for key, value in secret["metadata"].items() if key not in _OF_THE_CLUSTER}
        body = json.dumps({**secret, "metadata": kept})
        system.kubectl.output("create", "--filename=-", stdin=body.encode())


def delete_mailfilter(system: MailSystem, *options: str) -> None:
    """Delete the MailFilter; return when it is gone, and without *options* all of it but the key Secrets too."""
    namespace = f"--namespace={system.namespace}"
    system.kubectl.run("delete", "mailfilter", system.name, namespace, *options)
    if options:
        return
    ours = f"--selector=app.kubernetes.io/instance={system.name},app.kubernetes.io/component!=dkim"

    def gone() -> bool:
        return not system.kubectl.items("pods,secrets,deployments,configmaps", namespace, ours)

    eventually(gone, within_seconds=120, what="the end of everything of the MailFilter")


def delete_secrets(system: MailSystem) -> None:
    """Delete all key Secrets."""
    system.kubectl.run("delete", "secrets", f"--namespace={system.namespace}", f"{SELECTOR}{system.name}")


def start_over(system: MailSystem, backup: dict[str, dict[str, Any]]) -> None:
    """Return when the demo's MailFilter signs with the keys of *backup*, and with no others there, as before."""
    delete_mailfilter(system)
    delete_secrets(system)
    put_back(system, backup)
    system.kubectl.apply_files([installation.MAILFILTER])
    installation.wait_ready(system)
    installation.wait_records(system)
    system.publish_records()
    installation.wait_signing(system)

"""Changing the spec of the running MailFilter, each change checked against P6."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.mail.polling import eventually
from tests.mail.system import MailSystem

HASH_ANNOTATION = "mailfilter.dev/config-hash"


def change(system: MailSystem, spec: Mapping[str, Any]) -> None:
    """Merge *spec*, which changes the configuration, into that of the MailFilter; return when it is Ready for it.

    Asserts that all pods run the edit's configuration when Ready is True for the generation of the edit.
    """
    before = template_hash(system)
    patch_spec(system, spec)
    wait_ready_for(system, system.mailfilter()["metadata"]["generation"])
    hashes = {pod["metadata"]["annotations"][HASH_ANNOTATION] for pod in system.filter_pods()}
    assert hashes == {template_hash(system)}
    assert before not in hashes


def patch_spec(system: MailSystem, spec: Mapping[str, Any]) -> None:
    """Merge *spec* into that of the MailFilter; null takes a field out."""
    patch = json.dumps({"spec": spec})
    system.kubectl.run(
        "patch",
        "mailfilter",
        system.name,
        f"--namespace={system.namespace}",
        "--type=merge",
        f"--patch={patch}",
    )


def wait_ready_for(system: MailSystem, generation: int) -> None:
    """Return when Ready is True for *generation*."""

    def is_ready() -> bool:
        condition = ready(system)
        return bool(condition["status"] == "True" and condition["observedGeneration"] == generation)

    eventually(is_ready, within_seconds=180, what="Ready for the edit")


def ready(system: MailSystem) -> dict[str, Any]:
    """Return the condition Ready."""
    conditions: list[dict[str, Any]] = system.mailfilter()["status"]["conditions"]
    return next(condition for condition in conditions if condition["type"] == "Ready")


def template_hash(system: MailSystem) -> str:
    """Return the hash of the configuration that the Deployment asks for."""
    deployment = system.kubectl.get("deployment", system.name, f"--namespace={system.namespace}")
    annotation: str = deployment["spec"]["template"]["metadata"]["annotations"][HASH_ANNOTATION]
    return annotation

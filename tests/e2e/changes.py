"""Changing the spec of the running MailFilter, each change checked against P6."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

from tests.mail.polling import eventually
from tests.mail.system import MailSystem

HASH_ANNOTATION = "mailfilter.dev/config-hash"


def change(system: MailSystem, spec: Mapping[str, Any]) -> None:
    """Merge *spec*, which changes the configuration, into that of the MailFilter; return when it is Ready for it.

    Asserts that all pods serve the edit's configuration when Ready is True for the generation of the edit: the one
    that their annotations ask for, and by their own report.
    """
    before = reported_hashes(system)
    patch_spec(system, spec)
    wait_ready_for(system, system.mailfilter()["metadata"]["generation"])
    reported = reported_hashes(system)
    asked = {pod["metadata"]["annotations"][HASH_ANNOTATION] for pod in system.filter_pods()}
    assert len(reported) == 1, reported
    assert reported == asked
    assert not reported & before


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


def reported_hashes(system: MailSystem) -> set[str]:
    """Return the hashes of the configurations that the pods say they serve."""
    return {_ask(pod["status"]["podIP"])["active"] for pod in system.filter_pods()}


def _ask(address: str) -> dict[str, Any]:
    """Return what the pod at *address* reports."""
    with urllib.request.urlopen(f"http://{address}:11380/cgi-bin/state", timeout=10) as answer:
        report: dict[str, Any] = json.load(answer)
    return report

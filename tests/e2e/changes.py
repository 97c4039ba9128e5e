"""Changing the spec of the running MailFilter, each change checked against P6."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.e2e import pods
from tests.mail.polling import eventually
from tests.mail.system import MailSystem


def change(system: MailSystem, spec: Mapping[str, Any]) -> None:
    """Merge *spec*, which changes the configuration, into that of the MailFilter; return when it is Ready for it.

    Asserts that all pods report the edit's configuration when Ready is True for the generation of the edit.
    """
    before = config_hash(system)
    patch_spec(system, spec)
    wait_ready_for(system, system.mailfilter()["metadata"]["generation"])
    hashes = pods.active_hashes(system)
    assert hashes == {config_hash(system)}
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


def cause_look(system: MailSystem, kind: str, name: str) -> None:
    """Annotate an object, so that who watches it looks at once: the operator at a MailFilter, the kubelet at a pod."""
    version = system.kubectl.get(kind, name, f"--namespace={system.namespace}")["metadata"]["resourceVersion"]
    look = f"example.com/look={version}"
    system.kubectl.run("annotate", kind, name, f"--namespace={system.namespace}", "--overwrite", look)


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


def condition(mailfilter: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a condition of *mailfilter*, empty if there is none for its present generation."""
    conditions: list[dict[str, Any]] = mailfilter.get("status", {}).get("conditions", [])
    found: dict[str, Any] = next((entry for entry in conditions if entry["type"] == name), {})
    return found if found.get("observedGeneration") == mailfilter["metadata"]["generation"] else {}


def config_hash(system: MailSystem) -> str:
    """Return the hash of the configuration that the pods are to serve, as status says it."""
    found: str = system.mailfilter()["status"]["config"]["hash"]
    return found


def restore(system: MailSystem, before: Mapping[str, Any], *fields: str) -> None:
    """Set *fields* of the spec as they were *before*; return when the MailFilter is Ready so.

    Keys of domains that are no longer there are deleted: they outlive a domain, and other tests count keys.
    """
    patch_spec(system, {field: before.get(field) for field in fields})
    wait_ready_for(system, system.mailfilter()["metadata"]["generation"])
    wanted = {domain["name"] for domain in before["domains"]}
    namespace = f"--namespace={system.namespace}"
    for secret in system.kubectl.items("secrets", namespace, "--selector=app.kubernetes.io/component=dkim"):
        metadata = secret["metadata"]
        ours = metadata["labels"]["app.kubernetes.io/instance"] == system.name
        if ours and metadata["annotations"]["mailfilter.dev/domain"] not in wanted:
            system.kubectl.run("delete", "secret", metadata["name"], namespace)

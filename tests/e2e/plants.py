"""Writing a text where a careless program might write a key: Event, annotation, status, log."""

from __future__ import annotations

import json
from typing import Any

from tests.mail.polling import eventually
from tests.mail.system import MailSystem

NAME = "planted"
ANNOTATION = "example.com/planted"
CONDITION = "example.com/planted"
IMAGE = "localhost/mailfilter-test-mta:0.1.0"
CONTAINERS = ("first", "second")
"""An init container and an ordinary one."""


def plant(system: MailSystem, filter_pod: str, text: str) -> None:
    """Write *text* to an Event, to annotations, to the pod's status and to two containers' logs.

    Neither the operator nor the kubelet touches what it does not own, so that it stays until `remove`.
    """
    system.kubectl.apply(_event(system, text), _pod(system, text))
    for target in _annotated(system):
        system.kubectl.run("annotate", *target, f"{ANNOTATION}={text}")
    _patch_condition(system, filter_pod, {"status": "True", "message": text})

    eventually(lambda: text in _log(system), within_seconds=60, what="the planted text in a log")


def remove(system: MailSystem, filter_pod: str) -> None:
    """Take everything away again."""
    namespace = f"--namespace={system.namespace}"
    system.kubectl.run("delete", f"event/{NAME}", f"pod/{NAME}", namespace, "--ignore-not-found", "--grace-period=1")
    for target in _annotated(system):
        system.kubectl.run("annotate", *target, f"{ANNOTATION}-")
    _patch_condition(system, filter_pod, {"$patch": "delete"})


def _annotated(system: MailSystem) -> tuple[tuple[str, str, str], ...]:
    namespace = f"--namespace={system.namespace}"
    return (("mailfilter", system.name, namespace), ("service", system.name, namespace))


def _log(system: MailSystem) -> str:
    """Return the log of the container that starts last; empty before that."""
    pod = system.kubectl.get("pod", NAME, f"--namespace={system.namespace}")
    if pod["status"].get("phase") != "Running":
        return ""
    return system.kubectl.run("logs", NAME, f"--namespace={system.namespace}", f"--container={CONTAINERS[-1]}")


def _patch_condition(system: MailSystem, filter_pod: str, condition: dict[str, str]) -> None:
    patch = json.dumps({"status": {"conditions": [{"type": CONDITION, **condition}]}})
    namespace = f"--namespace={system.namespace}"
    system.kubectl.run("patch", "pod", filter_pod, namespace, "--subresource=status", f"--patch={patch}")


def _event(system: MailSystem, text: str) -> dict[str, Any]:
    involved = {
        "apiVersion": "mailfilter.dev/v1alpha1",
        "kind": "MailFilter",
        "name": system.name,
        "namespace": system.namespace,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": NAME, "namespace": system.namespace},
        "involvedObject": involved,
        "type": "Normal",
        "reason": "Planted",
        "message": text,
    }


def _pod(system: MailSystem, text: str) -> dict[str, Any]:
    """Write a restricted pod that prints *text*, which it gets in bits: its own object shall not be found."""
    bits = [text[start : start + 10] for start in range(0, len(text), 10)]

    def container(name: str, afterwards: str) -> dict[str, Any]:
        return {
            "name": name,
            "image": IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", f'printf %s "$@"; echo; {afterwards}', "sh", *bits],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }

    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": system.namespace},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65534,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "initContainers": [container(CONTAINERS[0], "true")],
            "containers": [container(CONTAINERS[1], "exec sleep 600")],
        },
    }

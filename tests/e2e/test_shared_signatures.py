"""The signature service of install.yaml: all filters take from it, and it alone asks its mirror.

SOAK_PODS is how many pods start at once to take from it; without it a fifth of what `make soak` takes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from tests.demo import installation
from tests.e2e import databases
from tests.e2e.test_mirror import FIRST, SECOND, publish_version
from tests.mail import messages, signatures, signed_databases
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

SERVICE = "mailfilter-signatures"
PODS = int(os.environ.get("SOAK_PODS") or 10)
_SERVICE_PODS = (f"--namespace={installation.OPERATOR_NAMESPACE}", f"--selector=app.kubernetes.io/name={SERVICE}")


@pytest.fixture
def sharing(system: MailSystem) -> Iterator[MailSystem]:
    """Provide another MailFilter with nothing in its spec, with port 2525 leading to its pod."""
    publish_version(system, FIRST)
    # It takes no older version than it has, and begins anew in a new pod.
    namespace = installation.OPERATOR_NAMESPACE
    system.kubectl.run("rollout", "restart", f"deployment/{SERVICE}", f"--namespace={namespace}")
    system.kubectl.wait_rolled_out(namespace, f"deployment/{SERVICE}")
    other = MailSystem(system.kubectl, system.address, system.namespace, "sharing")
    metadata = {"name": other.name, "namespace": other.namespace}
    system.kubectl.apply(
        {"apiVersion": "mailfilter.dev/v1alpha1", "kind": "MailFilter", "metadata": metadata, "spec": {}}
    )
    try:
        installation.wait_ready(other)
        other.point_at_pod()
        yield other
    finally:
        system.kubectl.run("delete", "deployment", "many", f"--namespace={other.namespace}", "--ignore-not-found")
        system.kubectl.run("delete", "mailfilter", other.name, f"--namespace={other.namespace}")
        signatures.publish(system.kubectl, {signatures.DATABASE: signatures.custom_database()})


def test_an_empty_spec_has_the_shared_signatures_and_many_pods_ask_the_service_alone(
    sharing: MailSystem, figure: Callable[[str], None]
) -> None:
    known = signed_databases.body_signatures(signed_databases.read(FIRST))
    later = signed_databases.body_signatures(signed_databases.read(SECOND))
    (new,) = later.keys() - known.keys()
    name, pattern = next(iter(known.items()))
    reply = sharing.receive_directly(_carrying(pattern))
    assert reply.refused, reply
    assert name in reply.text
    assert sharing.receive_directly(_carrying(later[new])).accepted

    (service,) = sharing.kubectl.items("pods", *_SERVICE_PODS)
    before = _requests(sharing)
    assert {address for address, _ in before} == {service["status"]["podIP"]}
    sharing.kubectl.apply(_many(sharing))
    sharing.kubectl.wait_rolled_out(sharing.namespace, "deployment/many", within_seconds=120 + 6 * PODS)
    assert _requests(sharing) == before
    figure(f"{PODS} more pods with signatures, {len(before)} requests at the service's mirror before and after")

    publish_version(sharing, SECOND)
    databases.check_now(service)

    def found() -> bool:
        answer = sharing.receive_directly(_carrying(later[new]))
        return answer.refused and new in answer.text

    eventually(found, within_seconds=180, what=f"{new} refused after the update")


def _carrying(pattern: bytes) -> EmailMessage:
    return messages.with_attachment(pattern, "application", "octet-stream", "sample.bin")


def _requests(system: MailSystem) -> list[tuple[str, str]]:
    """Return client and path of every request for one of ClamAV's own databases at the test's web server."""
    log = system.kubectl.run("logs", "--namespace=mail", "deployment/signatures")
    lines = re.findall(r"^\[(?:::ffff:)?([0-9.]+)\]:\d+:.*?(/(?:main|daily|bytecode)\.c[vl]d)", log, re.MULTILINE)
    return [(address, path) for address, path in lines]


def _many(system: MailSystem) -> dict[str, Any]:
    """Return a Deployment of pods with the container freshclam of the MailFilter's own and no other."""
    template = system.kubectl.get("deployment", system.name, f"--namespace={system.namespace}")["spec"]["template"]
    pod = template["spec"]
    (freshclam,) = pod["initContainers"]
    mounted = {mount["name"] for mount in freshclam["volumeMounts"]}
    container = {key: value for key, value in freshclam.items() if key != "restartPolicy"}
    container["resources"] = {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "256Mi"}}
    probe = {"exec": {"command": ["/usr/lib/mailfilter/fetched-database"]}, "periodSeconds": 1}
    labels = {"app.kubernetes.io/name": "many", "app.kubernetes.io/part-of": "mailfilter"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "many", "namespace": system.namespace},
        "spec": {
            "replicas": PODS,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "securityContext": pod["securityContext"],
                    "automountServiceAccountToken": False,
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{**container, "readinessProbe": probe}],
                    "volumes": [volume for volume in pod["volumes"] if volume["name"] in mounted],
                },
            },
        },
    }

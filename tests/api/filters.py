"""MailFilters and their objects on an API server, seen as a user sees them."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import dataclass
from typing import Any

from tests.cluster.connection import Connection
from tests.mail.polling import eventually

KINDS = ("configmap", "deployment", "poddisruptionbudget", "service", "serviceaccount", "secret")
_SELECTOR = "app.kubernetes.io/managed-by=mailfilter-operator,app.kubernetes.io/instance="


@dataclass(frozen=True, slots=True)
class Filters:
    """MailFilters of one namespace."""

    api: Connection
    namespace: str

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return self.api.kubectl(f"--namespace={self.namespace}", *arguments, stdin=stdin)

    def apply(self, name: str, **spec: Any) -> None:
        """Apply a MailFilter with custom signatures and whatever else *spec* says."""
        signatures = {"source": "CustomOnly", "customURLs": ["http://signatures.mail.svc:8080/test.ndb"]}
        body = {
            "apiVersion": "mailfilter.dev/v1alpha1",
            "kind": "MailFilter",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"antivirus": {"signatures": signatures}, "dkim": {"activation": "AtOnce"}, **spec},
        }
        self.kubectl("apply", "--filename=-", stdin=json.dumps(body))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return one object; raises CalledProcessError if there is none."""
        return dict(json.loads(self.kubectl("get", kind, name, "--output=json")))

    def children(self, name: str) -> dict[str, dict[str, Any]]:
        """Return every object with the labels of the MailFilter *name*, as kind/name, without what servers add."""
        found = json.loads(self.kubectl("get", ",".join(KINDS), f"--selector={_SELECTOR}{name}", "--output=json"))
        return {f"{item['kind']}/{item['metadata']['name']}": essence(item) for item in found["items"]}

    def status(self, name: str) -> dict[str, Any]:
        """Return the status, empty if there is none yet."""
        return dict(self.get("mailfilter", name).get("status") or {})

    def condition(self, name: str, condition: str) -> dict[str, Any]:
        """Return a condition of the current generation; empty if there is none."""
        body = self.get("mailfilter", name)
        conditions = (body.get("status") or {}).get("conditions") or []
        found: dict[str, Any] = next((entry for entry in conditions if entry["type"] == condition), {})
        return found if found.get("observedGeneration") == body["metadata"]["generation"] else {}

    def wait_condition(self, name: str, condition: str, status: str, reason: str | None = None) -> dict[str, Any]:
        """Return a condition when it has this status and reason for the current generation."""

        def reached() -> dict[str, Any] | None:
            found = self.condition(name, condition)
            ok = found.get("status") == status and reason in (None, found.get("reason"))
            return found if ok else None

        return eventually(reached, within_seconds=30, what=f"{condition}={status} ({reason}) of {name}")

    def wait_built(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the children when all are there for the current generation."""

        def built() -> bool:
            condition = self.condition(name, "ConfigApplied")
            return bool(condition) and condition["reason"] in ("NoReadyPod", "RollingOut", "Applied")

        eventually(built, within_seconds=60, what=f"the objects of {name}")
        return self.children(name)

    def look_again(self, name: str) -> None:
        """Cause a pass without a change that matters."""
        self.kubectl("annotate", "mailfilter", name, "--overwrite", f"test.example/look={time.monotonic_ns()}")

    def events(self) -> list[dict[str, Any]]:
        """Return the Events about MailFilters."""
        selector = "--field-selector=involvedObject.kind=MailFilter"
        return list(json.loads(self.kubectl("get", "events", selector, "--output=json"))["items"])


def essence(item: dict[str, Any]) -> dict[str, Any]:
    """Return an object without what the API server and controllers write to it."""
    kept = copy.deepcopy(item)
    kept.pop("status", None)
    for name in ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "selfLink"):
        kept["metadata"].pop(name, None)
    annotations = kept["metadata"].get("annotations", {})
    annotations.pop("deployment.kubernetes.io/revision", None)
    if kept["kind"] == "Service":
        for name in ("clusterIP", "clusterIPs"):
            kept["spec"].pop(name, None)
    return kept

"""Raw text of the demo's MailFilter: set by kubectl as a user does, and watched until it serves or is refused."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mail import messages
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

from mailfilter_operator.pod_reports import PodReport, parse_report

GOOD: dict[str, Any] = {
    "config": {
        "files": {
            "local.d/multimap.conf": 'OWN { type = "header"; header = "subject"; regexp = true; score = 3; '
            'map = "$LOCAL_CONFDIR/maps/own"; }\n',
            "maps/own": "/cheap watches/\n",
        }
    }
}
_REPORT = "http://{}:11380/cgi-bin/state"


@dataclass(frozen=True)
class RawText:
    """The raw text of a MailFilter; commands go through files, since they are longer than an argument may be."""

    system: MailSystem
    directory: Path

    def apply(self, spec: Mapping[str, Any]) -> int:
        """Replace all raw text; the generation. Raises KubectlError if the API server refuses it."""
        patch = [{"op": "add", "path": f"/spec/{part}", "value": spec.get(part, {})} for part in ("config", "workers")]
        file = self.directory / "patch.json"
        file.write_text(json.dumps(patch))
        self._run("patch", "mailfilter", self.system.name, "--type=json", f"--patch-file={file}")
        generation: int = self.system.mailfilter()["metadata"]["generation"]
        return generation

    def write_secret(self, name: str, key: str, text: str) -> None:
        """Make a Secret hold *text*."""
        metadata = {"name": name, "namespace": self.system.namespace}
        self.system.kubectl.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {key: text}}
        )

    def condition(self, name: str, generation: int) -> dict[str, Any]:
        """A condition for *generation*; AssertionError if it is for an older one."""
        conditions = self.system.mailfilter()["status"]["conditions"]
        found: dict[str, Any] = next(entry for entry in conditions if entry["type"] == name)
        assert found["observedGeneration"] == generation, found
        return found

    def wait_refused(self, generation: int, reason: str, within_seconds: float) -> str:
        """What is said against the raw text of *generation*, sending clean mail and viruses until it is."""

        def refused() -> str:
            self.assert_filtering()
            stalled = self.condition("Stalled", generation)
            assert (stalled["status"], stalled["reason"]) == ("True", reason), stalled
            applied = self.condition("ConfigApplied", generation)
            assert (applied["status"], applied["reason"]) == ("False", reason), applied
            return str(stalled["message"])

        return eventually(refused, within_seconds=within_seconds, what=f"{reason} of generation {generation}")

    def wait_serving(self, generation: int) -> str:
        """Hash of the configuration that every pod serves for *generation*, sending mail until all do."""

        def serving() -> str:
            self.assert_filtering()
            ready = self.condition("Ready", generation)
            assert ready["status"] == "True", ready
            return self.active()

        return eventually(serving, within_seconds=120, what=f"generation {generation} served")

    def reports(self) -> dict[str, PodReport]:
        """What each pod says, by its name."""
        said = {}
        for pod in self.system.filter_pods():
            address = pod["status"].get("podIP")
            assert address, f"{pod['metadata']['name']} has no address yet"
            with urllib.request.urlopen(_REPORT.format(address), timeout=10) as answer:  # noqa: S310 - http
                said[pod["metadata"]["name"]] = parse_report(answer.read())
        return said

    def active(self) -> str:
        """The one hash that all pods report, which status has, too."""
        hashes = {report.active for report in self.reports().values()}
        active = next(iter(hashes), None)
        assert active is not None
        assert hashes == {active}
        assert active == self.system.mailfilter()["status"]["config"]["hash"], active
        return active

    def assert_filtering(self) -> None:
        """Assert that Postfix accepts clean mail and refuses a virus."""
        clean = self.system.receive(messages.clean())
        virus = self.system.receive(messages.with_eicar_body())
        if not clean.accepted or not virus.refused:
            raise RuntimeError(f"clean: {clean.line}; virus: {virus.line}")

    def restarts(self) -> int:
        """How often containers of the pods that are there were restarted."""
        return sum(
            container["restartCount"]
            for pod in self.system.filter_pods()
            for container in (
                *pod["status"].get("containerStatuses", ()),
                *pod["status"].get("initContainerStatuses", ()),
            )
        )

    def delete_pod(self, name: str) -> None:
        """Delete a pod; return when another one is ready in its place, sending no mail meanwhile."""
        self._run("delete", "pod", name, "--grace-period=1", "--wait=false")

        def replaced() -> bool:
            pods = self.system.filter_pods()
            assert pods
            assert name not in [pod["metadata"]["name"] for pod in pods]
            started = [pod["status"].get("containerStatuses") for pod in pods]
            return all(containers and all(entry["ready"] for entry in containers) for containers in started)

        eventually(replaced, within_seconds=120, what=f"a ready pod in place of {name}")

    def _run(self, *arguments: str) -> str:
        return self.system.kubectl.run(*arguments, f"--namespace={self.system.namespace}")

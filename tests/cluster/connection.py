"""What a test needs to talk to a tier that is up, from inside the cluster's network namespace.

Process ids are those of the machine, so a test can stop or kill them; they are looked up each time,
since what has been killed may have been started again.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import images, layout, namespace, programs, supervisor

_WITH_RESOLVER = 'mount --bind "$0" "$(readlink -f /etc/resolv.conf)" && exec "$@"'


def entering(cluster: layout.Cluster, command: Sequence[str]) -> list[str]:
    """Return *command* as it has to be called to run in the cluster's network, with its resolver."""
    private = ("unshare", "--mount", "--propagation", "slave", "sh", "-c", _WITH_RESOLVER)
    return namespace.inside(cluster, *private, str(cluster.resolv_conf), *command)


def environment(tier: layout.Tier) -> dict[str, str]:
    """Return the variables that lead kubectl and the Kubernetes client to *tier*."""
    programs_first = f"{programs.directory(programs.KUBERNETES)}:{os.environ.get('PATH', '')}"
    return {"KUBECONFIG": str(tier.kubeconfig), "PATH": programs_first}


@dataclass(frozen=True, slots=True)
class Connection:
    """A tier that is up."""

    cluster: layout.Cluster
    tier: layout.Tier

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.tier.kubeconfig

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: one JSON event a line, every request, level Metadata."""
        return self.tier.audit_log

    @property
    def api_server_url(self) -> str:
        """Base URL of the API server."""
        return self.tier.api_server_url

    @property
    def pids(self) -> dict[str, int]:
        """The tier's running components: name -> process id."""
        return supervisor.component_pids(self.tier)

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_seconds: float = 120.0) -> str:
        """Run kubectl as the administrator and return what it prints; raises CalledProcessError with its words."""
        command = [programs.path(programs.KUBERNETES, "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        result = subprocess.run(
            self.nsenter(*command), input=stdin, capture_output=True, text=True, timeout=timeout_seconds, check=False
        )
        if result.returncode:
            error = subprocess.CalledProcessError(result.returncode, command, result.stdout, result.stderr)
            error.add_note(result.stderr.strip())
            raise error
        return result.stdout

    def nsenter(self, *command: str) -> list[str]:
        """Return *command* as it has to be called to run in the cluster's network namespace."""
        return list(command) if namespace.is_current(self.cluster) else namespace.inside(self.cluster, *command)

    def load(self, archive: Path) -> bool:
        """Import an OCI archive; return whether there was anything to do."""
        return images.load(self.cluster, archive)

    def tag(self, name: str, other: str) -> None:
        """Give a loaded image a second name."""
        images.tag(self.cluster, name, other)

    def container_pids(self, namespace_name: str, pod: str, container: str) -> list[int]:
        """Return all processes of a running container, its process 1 first; empty if it is not running."""
        query = '{range .status.initContainerStatuses[*]}{.name} {.containerID}{"\\n"}{end}'
        query += query.replace("initContainerStatuses", "containerStatuses")
        rows = self.kubectl("get", "pod", pod, f"--namespace={namespace_name}", f"--output=jsonpath={query}")
        identifiers = dict(row.split(" ", 1) for row in rows.splitlines() if " " in row)
        identifier = identifiers.get(container, "").removeprefix("containerd://")
        first = images.task_pid(self.cluster, identifier) if identifier else 0
        tree = supervisor.machine_pids(self.tier)
        return supervisor.namespace_members(tree[first], tree.values()) if first in tree else []

    def audit_events(self) -> list[dict[str, Any]]:
        """Return all events of the audit log so far; a line that is being written is left out."""
        text = self.audit_log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

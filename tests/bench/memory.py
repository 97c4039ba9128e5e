"""Memory of the containers that run: what Kubernetes would evict by, and what really belongs to the processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.bench.figures import Figure
from tests.demo.installation import OPERATOR_NAMESPACE
from tests.mail.system import MailSystem

DESCRIPTION = (
    "working set of the container's cgroup (usage without inactive file pages, as the kubelet counts) / proportional "
    "set size of its processes; signatures of the tests only"
)
_PROC = Path("/proc")


def measure(system: MailSystem, when: str) -> list[Figure]:
    """Return the memory of each container of the first filter pod, and of the operator's."""
    pods = [system.filter_pods()[0], *system.kubectl.items("pods", f"--namespace={OPERATOR_NAMESPACE}")]
    shown = [f"{name} {_read(identifier)}" for pod in pods for name, identifier in container_ids(pod).items()]
    return [Figure(f"memory per container, {when}", "\n".join(shown), "", "working set / proportional set size")]


def container_ids(pod: dict[str, Any]) -> dict[str, str]:
    """Return the running containers of *pod*: name -> id."""
    kinds = ("initContainerStatuses", "containerStatuses")
    statuses = [status for kind in kinds for status in pod["status"].get(kind, [])]
    running = [status for status in statuses if "running" in status["state"]]
    return {status["name"]: status["containerID"].partition("://")[2] for status in running}


def _read(identifier: str) -> str:
    """Write both figures of one container. Raises RuntimeError if it has no process."""
    processes = [entry for entry in _PROC.glob("[0-9]*") if identifier in _text(entry / "cgroup")]
    if not processes:
        raise RuntimeError(f"container {identifier} has no process on this machine")
    proportional = sum(_kilobytes(_text(entry / "smaps_rollup")) for entry in processes) * 1024
    return f"{working_set(_text(processes[0] / 'cgroup')) / 2**20:.0f} / {proportional / 2**20:.0f} MiB"


def working_set(control_groups: str) -> int:
    """Return the working set of the control group that /proc/PID/cgroup names, of either version."""
    for line in control_groups.splitlines():
        _, controllers, path = line.split(":", 2)
        for base, usage, inactive in (
            ("memory", "memory.usage_in_bytes", "total_inactive_file"),
            ("", "memory.current", "inactive_file"),
        ):
            directory = Path("/sys/fs/cgroup") / base / path.lstrip("/")
            if base in controllers.split(",") and (directory / usage).exists():
                counters = dict(row.split() for row in (directory / "memory.stat").read_text().splitlines())
                return int((directory / usage).read_text()) - int(counters[inactive])
    raise RuntimeError("no memory control group")


def _kilobytes(rollup: str) -> int:
    """Return the Pss of a smaps_rollup file, 0 of a process that has ended."""
    return next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""

"""What the operator needs; the figure is printed, not judged."""

from __future__ import annotations

from collections.abc import Callable

from tests.demo.installation import OPERATOR_PODS
from tests.e2e import processes
from tests.mail.system import MailSystem


def test_operator_memory_is_measured(system: MailSystem, figure: Callable[[str], None]) -> None:
    (pod,) = system.kubectl.items("pods", *OPERATOR_PODS)
    pids = [pid for name in ("python3", "python") for pid in processes.find(pod["metadata"]["uid"], name)]
    figures = processes.memory_bytes(pids[0])
    figure(", ".join(f"operator memory ({name}): {value / 2**20:.1f} MiB" for name, value in figures.items()))
    assert figures["cgroup"] > 0

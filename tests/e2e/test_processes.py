"""Containers that are probed every few seconds for months must not fill up with dead processes."""

from __future__ import annotations

from pathlib import Path

from tests.mail.polling import eventually
from tests.mail.system import MailSystem

PROBES = 5


def test_no_container_collects_dead_processes(system: MailSystem) -> None:
    (pod,) = system.filter_pods()
    uid = pod["metadata"]["uid"]
    before = _dead(uid)
    seen: set[str] = set()

    def probed() -> bool:
        seen.update(_probes(uid))
        return len(seen) >= PROBES

    eventually(probed, within_seconds=120, what=f"{PROBES} probes of the pod", every_seconds=0.01)
    # One may be between its end and its parent's notice; as many as there were probes means that nobody looks.
    eventually(lambda: len(_dead(uid) - before) <= 1, within_seconds=5, what="dead processes taken note of")


def _processes(uid: str) -> list[Path]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if uid in (entry / "cgroup").read_text():
                found.append(entry)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _dead(uid: str) -> set[str]:
    return {entry.name for entry in _processes(uid) if ") Z " in _read(entry / "stat")}


def _probes(uid: str) -> set[str]:
    return {entry.name for entry in _processes(uid) if "probe-clamd" in _read(entry / "cmdline")}

"""A tier's process tree: started as one, recorded, found again and killed as one.

What is recorded is the process `unshare`, whose child is process 1 of the tier's PID namespace; killing
either ends every process of the tier, since the kernel kills a PID namespace with its process 1.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster import layout, namespace

_UNSHARE = (
    *("unshare", "--mount", "--propagation", "private", "--uts", "--pid", "--fork"),
    *("--kill-child", "--mount-proc"),
)
_KILL_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Process:
    """A program of a tier: started after the processes named in *after* answer their *probe*."""

    name: str
    arguments: Sequence[str]
    after: tuple[str, ...] = ()
    probe: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mounts:
    """What a tier sees in place of the machine's directories."""

    tmpfs: tuple[str, ...] = ()
    binds: tuple[tuple[str, str], ...] = ()


def _status(pid: int) -> dict[str, list[str]]:
    """Return /proc/PID/status as words by key; empty if there is no such process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}


def _start_ticks(pid: int) -> str:
    """Return when a process started; with the process id it names one process for as long as the machine runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is not merely waiting to be collected."""
    return _status(pid).get("State", ["X"])[0] not in {"Z", "X"}


def _namespace_of(pid: int, kind: str) -> int:
    """Return the inode of a process's namespace, 0 if it has none any more."""
    try:
        return Path(f"/proc/{pid}/ns/{kind}").stat().st_ino
    except OSError:
        return 0


def _all_pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def start(tier: layout.Tier, cluster: layout.Cluster, processes: Sequence[Process], mounts: Mounts) -> None:
    """Start the tree; it begins with its work only once it has been recorded."""
    tier.logs.mkdir(parents=True, exist_ok=True)
    plan = {
        "hostname": layout.NODE_NAME,
        "tmpfs": mounts.tmpfs,
        "binds": mounts.binds,
        "progress": str(tier.progress),
        "processes": [_planned(tier, process) for process in processes],
    }
    command = namespace.inside(cluster, *_UNSHARE, sys.executable, "-m", "tests.cluster.init")
    with (tier.logs / "init.log").open("ab") as log:
        tree = subprocess.Popen(
            command,
            cwd=layout.CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    tier.record.write_text(json.dumps({"pid": tree.pid, "start": _start_ticks(tree.pid)}))
    assert tree.stdin is not None
    with tree.stdin as pipe:
        pipe.write(json.dumps(plan).encode())


def _planned(tier: layout.Tier, process: Process) -> dict[str, Any]:
    return {
        "name": process.name,
        "arguments": list(process.arguments),
        "after": process.after,
        "probe": dict(process.probe),
        "environment": dict(process.environment),
        "log": str(tier.logs / f"{process.name}.log"),
    }


def recorded_pid(tier: layout.Tier) -> int:
    """Return the recorded process, 0 if there is no record or its process is gone."""
    try:
        record = json.loads(tier.record.read_text())
    except (OSError, ValueError):
        return 0
    pid = int(record["pid"])
    return pid if record["start"] == _start_ticks(pid) and is_alive(pid) else 0


def init_pid(tier: layout.Tier) -> int:
    """Return process 1 of the tier, as the machine numbers it; 0 if it is not there."""
    recorded = str(recorded_pid(tier))
    if recorded == "0":
        return 0
    return next((pid for pid in _all_pids() if _status(pid).get("PPid") == [recorded]), 0)


def progress(tier: layout.Tier) -> dict[str, dict[str, Any]]:
    """Return what process 1 wrote: `pids` as the tier numbers them, `ready` in seconds, `exited` with status."""
    try:
        content: dict[str, dict[str, Any]] = json.loads(tier.progress.read_text())
    except (OSError, ValueError):
        return {"pids": {}, "ready": {}, "exited": {}}
    return content


def machine_pids(tier: layout.Tier) -> dict[int, int]:
    """Return process ids as the tier numbers them -> as the machine does, for all processes of the tier."""
    first = init_pid(tier)
    depth = len(_status(first).get("NSpid", [])) - 1
    if depth < 1:
        return {}
    return {
        int(numbers[depth]): pid for pid in _descendants(first) if len(numbers := _status(pid).get("NSpid", [])) > depth
    }


def _descendants(first: int) -> list[int]:
    """Return *first* and everything it is an ancestor of."""
    children: dict[int, list[int]] = {}
    for pid in _all_pids():
        children.setdefault(int((_status(pid).get("PPid") or ["0"])[0]), []).append(pid)
    found = [first]
    for pid in found:  # grows while it is walked
        found.extend(children.get(pid, []))
    return found


def component_pids(tier: layout.Tier) -> dict[str, int]:
    """Return the running components by name, as the machine numbers them."""
    tree = machine_pids(tier)
    return {name: tree[pid] for name, pid in progress(tier)["pids"].items() if pid in tree}


def _trees(cluster: layout.Cluster) -> set[int]:
    """Return every process that keeps a tier alive, records lost included.

    A process in the cluster's network namespace but in another PID namespace than ours can only be a
    tier's; tests share our PID namespace, pods have network namespaces of their own.
    """
    found = {pid for tier in cluster.tiers for pid in (recorded_pid(tier), init_pid(tier)) if pid}
    if namespace.exists(cluster):
        wanted, own = cluster.netns.stat().st_ino, _namespace_of(os.getpid(), "pid")
        for pid in _all_pids():
            if _namespace_of(pid, "net") == wanted and _namespace_of(pid, "pid") not in {own, 0}:
                found.add(pid)
    return found


def kill(pids: set[int]) -> None:
    """Kill processes and wait until they are gone; the rest of their PID namespaces goes first."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + _KILL_SECONDS
    while left := [pid for pid in pids if is_alive(pid)]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {left} did not end within {_KILL_SECONDS:.0f} s of SIGKILL")
        time.sleep(0.02)


def kill_tier(tier: layout.Tier) -> None:
    """End one tier."""
    kill({pid for pid in (recorded_pid(tier), init_pid(tier)) if pid})


def kill_cluster(cluster: layout.Cluster) -> None:
    """End both tiers, and what is left of them when their records are lost."""
    kill(_trees(cluster))


def namespace_members(first: int, candidates: Iterable[int]) -> list[int]:
    """Return those of *candidates* that share the PID namespace of *first*, which comes first."""
    wanted = _namespace_of(first, "pid")
    return [first, *sorted(pid for pid in candidates if pid != first and _namespace_of(pid, "pid") == wanted)]

"""Everything of a cluster removed, whatever state it is in.

There is one way down, and it asks nothing of the cluster: kill, unmount, remove.  So it works just as well
after a crash, and a start after a crash is this and then a start.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
import time
from pathlib import Path

from tests.cluster import layout, supervisor

_BUSY_SECONDS = 15.0


def mounts_below(directory: Path) -> list[Path]:
    """Return what is mounted at or below *directory* as this process sees it, innermost first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = Path(line.split()[4].encode().decode("unicode_escape"))
        if place.is_relative_to(directory):
            found.append(place)
    return sorted(found, key=lambda place: len(place.parts), reverse=True)


def _unmount(directory: Path) -> None:
    """Unmount everything below *directory*; mounts stacked at one place count one by one."""
    for place in mounts_below(directory):
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _remove_directory(directory: Path) -> None:
    """Remove *directory*, but never through a mount into something else."""
    if left := mounts_below(directory):
        raise RuntimeError(f"still mounted below {directory}: {left}")
    if directory.exists():
        shutil.rmtree(directory)


def _remove_control_group(directory: Path) -> None:
    """Remove a control group and those in it; the kernel needs a moment after the last process is gone."""
    deadline = time.monotonic() + _BUSY_SECONDS
    children = sorted((path for path in directory.rglob("*") if path.is_dir()), key=lambda path: len(path.parts))
    for path in [*reversed(children), directory]:
        while path.exists():
            try:
                path.rmdir()
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


def remove_tier(cluster: layout.Cluster, tier: layout.Tier) -> None:
    """Remove one tier and leave the other alone."""
    supervisor.kill_tier(tier)
    _unmount(tier.directory)
    if tier == cluster.node:
        for directory in cluster.control_group_directories():
            _remove_control_group(directory)
    _remove_directory(tier.directory)


def remove_cluster(cluster: layout.Cluster) -> None:
    """Remove everything that has the cluster's name."""
    supervisor.kill_cluster(cluster)
    _unmount(cluster.state)
    for directory in cluster.control_group_directories():
        _remove_control_group(directory)
    _remove_directory(cluster.state)


def leftovers(cluster: layout.Cluster) -> list[str]:
    """Return what is there of the cluster, in words; empty after `remove_cluster`."""
    found = [f"mount {place}" for place in mounts_below(cluster.state)]
    found += [f"control group {path}" for path in cluster.control_group_directories() if path.exists()]
    found += [f"file {path}" for path in (cluster.state,) if path.exists()]
    return found

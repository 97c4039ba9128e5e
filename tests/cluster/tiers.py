"""A tier from nothing to ready: files, process tree, and waiting for what a test may rely on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from tests.cluster import (
    cache,
    control_plane,
    dns,
    images,
    layout,
    namespace,
    node,
    packages,
    programs,
    supervisor,
    teardown,
)

_START_SECONDS = 120.0
_POLL_SECONDS = 0.1


def kubectl(cluster: layout.Cluster, tier: layout.Tier, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl as the administrator of *tier*, from wherever this process is."""
    command = [programs.path(programs.KUBERNETES, "kubectl"), f"--kubeconfig={tier.kubeconfig}", *arguments]
    return subprocess.run(namespace.inside(cluster, *command), capture_output=True, text=True, check=False)


def is_up(tier: layout.Tier) -> bool:
    """Tell whether everything in the tier has started and is there; it need not answer."""
    started = len(supervisor.progress(tier)["ready"]) == _expected(tier)
    return started and len(supervisor.component_pids(tier)) == _expected(tier)


def _is_usable(cluster: layout.Cluster, tier: layout.Tier) -> bool:
    """Tell whether the tier is up and answers; one that was killed a moment ago does not."""
    readiness = ("get", "--raw=/readyz", "--request-timeout=5s")
    return is_up(tier) and kubectl(cluster, tier, *readiness).returncode == 0


def _expected(tier: layout.Tier) -> int:
    """Return the number of components of a tier."""
    return 8 if tier.name == "node" else 3


def _wait(tier: layout.Tier, what: str, condition: Callable[[], bool]) -> None:
    """Wait for *condition*, but not longer than the tier's processes live. Raises SystemExit."""
    deadline = time.monotonic() + _START_SECONDS
    while not condition():
        if not supervisor.recorded_pid(tier):
            raise SystemExit(f"{tier.name}: the process tree ended while {what}; see {tier.logs}")
        if exited := supervisor.progress(tier)["exited"]:
            raise SystemExit(f"{tier.name}: {exited} ended (name: status) while {what}; see {tier.logs}")
        if time.monotonic() > deadline:
            raise SystemExit(f"{tier.name}: still {what} after {_START_SECONDS:.0f} s; see {tier.logs}")
        time.sleep(_POLL_SECONDS)


def _answers(cluster: layout.Cluster, tier: layout.Tier, expected: str, *arguments: str) -> Callable[[], bool]:
    """Return a condition: kubectl succeeds with exactly *expected* as its output."""

    def condition() -> bool:
        result = kubectl(cluster, tier, *arguments)
        return result.returncode == 0 and result.stdout == expected

    return condition


def _wait_until_usable(cluster: layout.Cluster, tier: layout.Tier) -> None:
    """Wait until everything has started, pods can be created and, on a node, scheduled."""
    _wait(tier, "starting", lambda: len(supervisor.progress(tier)["ready"]) == _expected(tier))
    if tier.name == "node":
        images.load(cluster, images.pause_archive())
        ready = '{.status.conditions[?(@.type=="Ready")].status} {.spec.taints}'
        query = ("get", "node", layout.NODE_NAME, "--output", f"jsonpath={ready}")
        _wait(tier, "waiting for the node", _answers(cluster, tier, "True ", *query))
    account = ("get", "serviceaccount", "default", "--namespace", "default", "--output", "name")
    _wait(tier, "waiting for ServiceAccounts", _answers(cluster, tier, "serviceaccount/default\n", *account))


def _start(cluster: layout.Cluster, tier: layout.Tier) -> None:
    tier.directory.mkdir(parents=True, mode=0o755)
    cluster.resolv_conf.write_text(f"nameserver {layout.NODE_ADDRESS}\noptions timeout:2 attempts:1\n")
    control_plane.write_files(tier)
    processes = control_plane.processes(tier)
    mounts = supervisor.Mounts()
    if tier.name == "node":
        node.write_files(cluster)
        dns.write_files(cluster)
        processes += node.processes(cluster) + dns.processes(cluster)
        mounts = node.mounts(cluster)
        for directory in cluster.control_group_directories():
            directory.mkdir(exist_ok=True)
    supervisor.start(tier, cluster, processes, mounts)


def ensure_up(cluster: layout.Cluster, tier: layout.Tier) -> float:
    """Make *tier* usable and return the seconds it took, 0 if it was.

    What an unclean end has left is removed first; a tier that is only half there does not survive.
    """
    packages.install(packages.CLUSTER)
    programs.build_all()
    began = time.monotonic()
    with cache.locked(f"cluster-{cluster.name}"):
        if _is_usable(cluster, tier):
            return 0.0
        if any(_is_usable(cluster, other) for other in cluster.tiers if other != tier):
            teardown.remove_tier(cluster, tier)
        else:
            teardown.remove_cluster(cluster)
            namespace.create(cluster)
        _start(cluster, tier)
        _wait_until_usable(cluster, tier)
    return time.monotonic() - began


def bring_down(cluster: layout.Cluster, tier: layout.Tier | None = None) -> None:
    """Remove *tier*, or the whole cluster; the network namespace goes with the last tier."""
    with cache.locked(f"cluster-{cluster.name}"):
        if tier is not None and any(is_up(other) for other in cluster.tiers if other != tier):
            teardown.remove_tier(cluster, tier)
        else:
            teardown.remove_cluster(cluster)

"""The network namespace of a cluster: a bridge with the node's address, and no way out.

There is no default route and no link to the machine, so nothing that a pod or a test looks up or sends
can leave; and the machine's addresses, routes, firewall and sysctls are never touched.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.cluster import layout

_OWN = Path("/proc/self/ns/net")

_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    # A pod that reaches a pod of the same bridge by a Service address needs the answer translated back.
    "net/bridge/bridge-nf-call-iptables": "1",
}


def inside(cluster: layout.Cluster, *command: str) -> list[str]:
    """Return *command* as it has to be called to run in the network namespace.

    `ip netns exec` would do more: it mounts a fresh /sys, which hides the control groups.
    """
    return ["nsenter", f"--net={cluster.netns}", "--", *command]


def exists(cluster: layout.Cluster) -> bool:
    """Tell whether the handle leads to a network namespace (after a crash it may be a mere file)."""
    return cluster.netns.exists() and cluster.netns.stat().st_dev == _OWN.stat().st_dev


def is_current(cluster: layout.Cluster) -> bool:
    """Tell whether this process runs in the cluster's network namespace."""
    return cluster.netns.exists() and os.path.samestat(cluster.netns.stat(), _OWN.stat())


def _reject(network: str) -> list[list[str]]:
    """Return firewall rules that refuse Service addresses which nothing stands behind, at once.

    Addresses of live Services have been translated before these rules see the packet, so what still
    carries one would only be waited for until a time-out.
    """
    rules = []
    for chain in ("OUTPUT", "FORWARD"):
        refuse = ["iptables", "--wait", "--append", chain, "--destination", network]
        rules.append([*refuse, "--protocol", "tcp", "--jump", "REJECT", "--reject-with", "tcp-reset"])
        rules.append([*refuse, "--jump", "REJECT", "--reject-with", "icmp-port-unreachable"])
    return rules


def create(cluster: layout.Cluster) -> None:
    """Make the namespace with loopback, bridge, node address, and routes to Services and nowhere else."""
    if not Path("/proc/sys/net/bridge").exists():
        subprocess.run(["modprobe", "br_netfilter"], check=True)
    cluster.state.mkdir(mode=0o755)
    cluster.netns.touch()
    # Not `ip netns add`, which would mount a directory of all namespaces that nobody removes again.
    subprocess.run(["unshare", f"--net={cluster.netns}", "true"], check=True)
    bridge = layout.NODE_BRIDGE
    commands = [
        ["ip", "link", "set", "lo", "up"],
        ["ip", "link", "add", bridge, "type", "bridge"],
        ["ip", "address", "add", f"{layout.NODE_ADDRESS}/32", "dev", bridge],
        ["ip", "link", "set", bridge, "up"],
        # Needed only to get as far as the translation of Service addresses.
        ["ip", "route", "add", layout.NODE_SERVICE_NETWORK, "dev", bridge, "src", layout.NODE_ADDRESS],
        *_reject(layout.NODE_SERVICE_NETWORK),
    ]
    for command in commands:
        subprocess.run(inside(cluster, *command), check=True)
    for name, value in _SYSCTLS.items():
        writer = inside(cluster, "sh", "-c", 'echo "$1" > "/proc/sys/$0"', name, value)
        subprocess.run(writer, check=True)

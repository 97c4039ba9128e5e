"""Names, addresses, ports and paths of a cluster.

Nothing here touches the machine.  The addresses are the same for every cluster, because each has a
network namespace of its own; everything that is visible outside carries the cluster's name.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
"""Root of the checkout that this package belongs to."""

NAME_VARIABLE = "MAILFILTER_CLUSTER"
"""Environment variable that names a second cluster of the same checkout."""

DNS_STUB_VARIABLE = "MAILFILTER_DNS_STUB"
"""Environment variable with the address of the server that answers the test zones."""

NODE_NAME = "node1"
NODE_ADDRESS = "10.250.0.1"
NODE_BRIDGE = "node0"
POD_BRIDGE = "pods0"
POD_NETWORK = "10.244.0.0/24"
NODE_SERVICE_NETWORK = "10.96.0.0/24"
API_SERVICE_NETWORK = "10.97.0.0/24"
DNS_STUB_ADDRESS = "10.96.0.53"
TEST_ZONES = ("example.com", "example.org", "example.net", "test")
PAUSE_IMAGE = "localhost/pause:1"

_PREFIX = "mailfilter-"
_STATE_PARENT = Path("/var/tmp")
_CONTROL_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports of a control plane, inside the network namespace."""

    api: int
    etcd_client: int
    etcd_peer: int
    controller_manager: int


@dataclass(frozen=True, slots=True)
class Tier:
    """One control plane, with or without a node below it, and where it keeps its files."""

    name: str
    directory: Path
    ports: Ports
    service_network: str

    @property
    def host(self) -> str:
        """Address of the API server: loopback for the tier without pods, else one that pods reach too."""
        return NODE_ADDRESS if self.name == "node" else "127.0.0.1"

    @property
    def api_server_url(self) -> str:
        """Base URL of the API server."""
        return f"https://{self.host}:{self.ports.api}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "admin.conf"

    @property
    def pki(self) -> Path:
        """Directory of the tier's authority and certificates."""
        return self.directory / "pki"

    @property
    def logs(self) -> Path:
        """Directory with one log per process."""
        return self.directory / "log"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON event a line."""
        return self.directory / "audit.log"

    @property
    def record(self) -> Path:
        """Which process holds the tier: written before anything is started."""
        return self.directory / "supervisor.json"

    @property
    def progress(self) -> Path:
        """What process 1 says of the others: inner process ids, start times, exits."""
        return self.directory / "progress.json"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Everything of one cluster that has a name on the machine."""

    name: str

    @property
    def state(self) -> Path:
        """Directory of everything the cluster writes; short, since a socket path ends at 107 bytes."""
        return _STATE_PARENT / self.name

    @property
    def netns(self) -> Path:
        """Handle of the network namespace: a file that the namespace is mounted on."""
        return self.state / "netns"

    @property
    def resolv_conf(self) -> Path:
        """Resolver configuration of pods and of what runs inside the network namespace."""
        return self.state / "resolv.conf"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd of the node tier listens."""
        return self.node.directory / "containerd.sock"

    @property
    def control_group(self) -> str:
        """Control group of all pods, relative to each hierarchy."""
        return f"/{self.name}"

    @property
    def node(self) -> Tier:
        """The tier with a node: pods run."""
        return Tier("node", self.state / "node", Ports(6443, 2379, 2380, 10257), NODE_SERVICE_NETWORK)

    @property
    def api(self) -> Tier:
        """The tier without a node: objects only, up in seconds."""
        return Tier("api", self.state / "api", Ports(7443, 7379, 7380, 7257), API_SERVICE_NETWORK)

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Both tiers, whether up or not."""
        return (self.node, self.api)

    def tier(self, name: str) -> Tier:
        """Return the tier of that name; raises KeyError."""
        return {tier.name: tier for tier in self.tiers}[name]

    def control_group_directories(self) -> list[Path]:
        """Where the cluster's control group is or would be: one per hierarchy (v1) or one at all (v2)."""
        if (_CONTROL_GROUPS / "cgroup.controllers").exists():
            return [_CONTROL_GROUPS / self.name]
        hierarchies = sorted(path for path in _CONTROL_GROUPS.iterdir() if path.is_dir())
        return [path / self.name for path in hierarchies if (path / "cgroup.procs").exists()]


def current_cluster() -> Cluster:
    """Return the cluster of this checkout, or the second one that the environment names.

    A second name is added to the checkout's hash and does not replace it: two checkouts may use the same.
    """
    digest = hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:8]
    second = os.environ.get(NAME_VARIABLE, "")
    if second and not re.fullmatch(r"[a-z][a-z0-9-]{0,15}", second):
        raise SystemExit(
            f"{NAME_VARIABLE}={second!r}: use at most 16 lower-case letters, digits and dashes, a letter first"
        )
    return Cluster(_PREFIX + digest + (f"-{second}" if second else ""))

"""CoreDNS: names of Services, the test zones by the server that tests run, and for all else "no such name".

It runs beside the kubelet and listens on the node's address; pods, and commands run in the network
namespace, have it as their only resolver.
"""

from __future__ import annotations

import os
import string
from pathlib import Path

from tests.cluster import certificates, layout, programs, supervisor

_TEMPLATE = Path(__file__).parent / "templates" / "Corefile"


def stub_address() -> str:
    """Return the address of the server of the test zones."""
    return os.environ.get(layout.DNS_STUB_VARIABLE) or layout.DNS_STUB_ADDRESS


def write_files(cluster: layout.Cluster) -> None:
    """Write CoreDNS's configuration and credentials."""
    tier = cluster.node
    authority = certificates.Authority(tier.pki)
    authority.issue("coredns", "/O=system:masters/CN=coredns")
    kubeconfig = tier.directory / "coredns.conf"
    authority.write_kubeconfig(kubeconfig, "coredns", tier.api_server_url)
    values = {
        "node_address": layout.NODE_ADDRESS,
        "kubeconfig": str(kubeconfig),
        "test_zones": " ".join(layout.TEST_ZONES),
        "stub_address": stub_address(),
    }
    (tier.directory / "Corefile").write_text(string.Template(_TEMPLATE.read_text()).substitute(values))


def processes(cluster: layout.Cluster) -> tuple[supervisor.Process, ...]:
    """Return CoreDNS."""
    arguments = (programs.path(programs.COREDNS, "coredns"), f"-conf={cluster.node.directory / 'Corefile'}")
    return (supervisor.Process("coredns", arguments, after=("kube-apiserver",)),)

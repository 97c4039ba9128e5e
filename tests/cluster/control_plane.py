"""etcd, API server and controller manager: the part that both tiers have."""

from __future__ import annotations

import json

from tests.cluster import certificates, layout, programs, supervisor

_AUDIT_MEGABYTES = "2000"
"""Far more than a test run writes, so that no test has to look for a rotated file."""


def write_files(tier: layout.Tier) -> None:
    """Write authority, certificates, kubeconfigs and audit policy of *tier*."""
    authority = certificates.Authority(tier.pki)
    authority.create()
    service_address = tier.service_network.replace(".0/24", ".1")
    names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
    addresses = (layout.NODE_ADDRESS, "127.0.0.1", service_address)
    alternatives = (*(f"IP:{address}" for address in addresses), *(f"DNS:{name}" for name in names))
    authority.issue("apiserver", "/CN=kube-apiserver", alternatives)
    authority.issue("apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
    authority.issue("admin", "/O=system:masters/CN=admin")
    authority.issue("controller-manager", "/CN=system:kube-controller-manager")
    for user in ("admin", "controller-manager"):
        authority.write_kubeconfig(tier.directory / f"{user}.conf", user, tier.api_server_url)
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    }
    (tier.directory / "audit-policy.json").write_text(json.dumps(policy))


def _etcd(tier: layout.Tier) -> supervisor.Process:
    client, peer = (f"http://127.0.0.1:{port}" for port in (tier.ports.etcd_client, tier.ports.etcd_peer))
    arguments = (
        programs.path(programs.ETCD, "server"),
        f"--data-dir={tier.directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        # A cluster that has crashed is thrown away, so nothing is gained by waiting for the disk.
        "--unsafe-no-fsync",
    )
    return supervisor.Process("etcd", arguments, probe={"url": f"{client}/health"})


def _api_server(tier: layout.Tier) -> supervisor.Process:
    pki = tier.pki
    arguments = (
        programs.path(programs.KUBERNETES, "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{tier.ports.etcd_client}",
        f"--bind-address={tier.host}",
        f"--secure-port={tier.ports.api}",
        # Must not be a loopback address, also where nothing will ever use it.
        f"--advertise-address={layout.NODE_ADDRESS}",
        f"--service-cluster-ip-range={tier.service_network}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={tier.directory / 'audit-policy.json'}",
        f"--audit-log-path={tier.audit_log}",
        f"--audit-log-maxsize={_AUDIT_MEGABYTES}",
    )
    probe = {"url": f"{tier.api_server_url}/readyz", "ca": str(pki / "ca.crt"), "client": str(pki / "admin")}
    return supervisor.Process("kube-apiserver", arguments, after=("etcd",), probe=probe)


def _controller_manager(tier: layout.Tier) -> supervisor.Process:
    arguments = (
        programs.path(programs.KUBERNETES, "kube-controller-manager"),
        f"--kubeconfig={tier.directory / 'controller-manager.conf'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={tier.ports.controller_manager}",
        f"--root-ca-file={tier.pki / 'ca.crt'}",
        f"--service-account-private-key-file={tier.pki / 'sa.key'}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        # The default of 20 requests a second delays its start by 5 s.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        # It makes this directory, by default below /usr/libexec.
        f"--flex-volume-plugin-dir={tier.directory / 'volume-plugins'}",
    )
    return supervisor.Process("kube-controller-manager", arguments, after=("kube-apiserver",))


def processes(tier: layout.Tier) -> tuple[supervisor.Process, ...]:
    """Return the control plane's processes."""
    return (_etcd(tier), _api_server(tier), _controller_manager(tier))

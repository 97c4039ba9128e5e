"""What makes a node of a control plane: containerd, kubelet, scheduler and kube-proxy, and their files.

Settings that differ from the defaults are there because of machines like containers and small virtual
machines: control groups v1 or v2, swap or none, no CAP_SYS_RESOURCE.
"""

from __future__ import annotations

import json
import string
from pathlib import Path

from tests.cluster import certificates, layout, programs, supervisor

_TEMPLATES = Path(__file__).parent / "templates"

_KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What the kubelet wants of the machine (`setupKernelTunables`); see `_write_kernel_settings`."""


def _write_cni(directory: Path) -> None:
    address_management = {
        "type": "host-local",
        "ranges": [[{"subnet": layout.POD_NETWORK}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": layout.POD_BRIDGE,
        "isGateway": True,
        # A pod reaches itself by its Service only so.
        "hairpinMode": True,
        "ipam": address_management,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    network = {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}
    directory.mkdir()
    (directory / "10-pods.conflist").write_text(json.dumps(network, indent=1))


def _write_kubelet(cluster: layout.Cluster, directory: Path, pki: Path) -> None:
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "address": layout.NODE_ADDRESS,
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "clusterDNS": [layout.NODE_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": str(cluster.resolv_conf),
        "containerRuntimeEndpoint": f"unix://{cluster.containerd_socket}",
        "volumePluginDir": str(directory / "volume-plugins"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cluster.control_group,
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "seccompDefault": True,
        "serializeImagePulls": False,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }
    (directory / "kubelet.json").write_text(json.dumps(config, indent=1))


def _write_kernel_settings(directory: Path) -> None:
    """Write what the kubelet shall find in place of some of the machine's kernel settings.

    It would change them for the whole machine, and does not start if it cannot; with these files
    mounted over them it finds what it wants and writes nothing.
    """
    directory.mkdir()
    for name, value in _KERNEL_SETTINGS.items():
        (directory / name.replace("/", "-")).write_text(f"{value}\n")


def write_files(cluster: layout.Cluster) -> None:
    """Write the configuration of everything in this module."""
    tier = cluster.node
    authority = certificates.Authority(tier.pki)
    name = layout.NODE_NAME
    addresses = (f"DNS:{name}", f"IP:{layout.NODE_ADDRESS}")
    authority.issue("kubelet", f"/O=system:nodes/CN=system:node:{name}", addresses)
    authority.issue("scheduler", "/CN=system:kube-scheduler")
    authority.issue("proxy", "/CN=system:kube-proxy")
    for user in ("kubelet", "scheduler", "proxy"):
        authority.write_kubeconfig(tier.directory / f"{user}.conf", user, tier.api_server_url)
    for directory in ("var-log", "var-lib", "tmp"):
        (tier.directory / directory).mkdir()
    _write_cni(tier.directory / "cni")
    _write_kubelet(cluster, tier.directory, tier.pki)
    _write_kernel_settings(tier.directory / "kernel")
    template = string.Template((_TEMPLATES / "containerd.toml").read_text())
    values = {
        "directory": str(tier.directory),
        "socket": str(cluster.containerd_socket),
        "pause_image": layout.PAUSE_IMAGE,
    }
    (tier.directory / "containerd.toml").write_text(template.substitute(values))


def mounts(cluster: layout.Cluster) -> supervisor.Mounts:
    """Return what hides the machine's directories: the node's programs have fixed paths below them."""
    directory = cluster.node.directory
    hidden = [(directory / "var-log", "/var/log"), (directory / "var-lib", "/var/lib")]
    settings = [(directory / "kernel" / name.replace("/", "-"), f"/proc/sys/{name}") for name in _KERNEL_SETTINGS]
    binds = [(str(source), target) for source, target in hidden + settings]
    return supervisor.Mounts(tmpfs=("/run",), binds=tuple(binds))


def _containerd(cluster: layout.Cluster) -> supervisor.Process:
    directory = programs.directory(programs.CONTAINERD)
    arguments = (str(directory / "containerd"), f"--config={cluster.node.directory / 'containerd.toml'}")
    # containerd finds its shim on PATH, and mounts images that it unpacks below TMPDIR.
    environment = {
        "PATH": f"{directory}:/usr/sbin:/usr/bin:/sbin:/bin",
        "TMPDIR": str(cluster.node.directory / "tmp"),
    }
    probe = {"socket": str(cluster.containerd_socket)}
    return supervisor.Process("containerd", arguments, probe=probe, environment=environment)


def processes(cluster: layout.Cluster) -> tuple[supervisor.Process, ...]:
    """Return the node's processes, the control plane's aside."""
    directory = cluster.node.directory

    def component(name: str, *arguments: str, after: tuple[str, ...] = ("kube-apiserver",)) -> supervisor.Process:
        program = programs.path(programs.KUBERNETES, name)
        user = name.removeprefix("kube-")
        return supervisor.Process(name, (program, f"--kubeconfig={directory / user}.conf", *arguments), after=after)

    return (
        _containerd(cluster),
        component("kube-scheduler", "--bind-address=127.0.0.1", "--leader-elect=false"),
        component(
            "kubelet",
            f"--config={directory / 'kubelet.json'}",
            f"--root-dir={directory / 'kubelet'}",
            f"--cert-dir={directory / 'pki'}",
            f"--hostname-override={layout.NODE_NAME}",
            f"--node-ip={layout.NODE_ADDRESS}",
            after=("kube-apiserver", "containerd"),
        ),
        component(
            "kube-proxy",
            "--proxy-mode=iptables",
            f"--hostname-override={layout.NODE_NAME}",
            f"--bind-address={layout.NODE_ADDRESS}",
            "--healthz-bind-address=127.0.0.1:10256",
            "--metrics-bind-address=127.0.0.1:10249",
            # A test that waits for a Service need not wait the default second.
            "--iptables-min-sync-period=100ms",
            # Zero leaves the machine's connection tracking as it is.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0s",
            "--conntrack-tcp-timeout-close-wait=0s",
        ),
    )

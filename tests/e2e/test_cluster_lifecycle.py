"""A cluster of its own, beside the one the tests run on: crashed in several ways, started again, removed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import images, layout, programs, supervisor, teardown
from tests.cluster.connection import Connection

IMAGE = "localhost/busybox:lifecycle"
NAMESPACE = "crashed"
START_SECONDS = 30.0
"""What the cluster promises for a start once its programs are built."""

ADDRESSED_DIRECTORIES = (
    *("/run", "/run/netns", "/opt", "/etc/cni", "/usr/libexec", "/var/lib", "/var/lib/cni", "/var/lib/kubelet"),
    *("/var/log", "/var/log/pods", "/var/log/containers", "/var/tmp"),
)
"""Where container runtimes and kubelets write unless they are kept from it."""

KERNEL_SETTINGS = (
    *("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"),
    *("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "kernel/hostname"),
    *("net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet", "net/netfilter/nf_conntrack_max"),
)


def command(*arguments: str) -> str:
    """Run the cluster's command line as a person would and return what it prints."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.cluster", *arguments],
        cwd=layout.CHECKOUT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert result.returncode == 0, f"{arguments}: {result.stdout}{result.stderr}"
    return result.stdout


def up() -> float:
    """Bring the cluster up and return the seconds that took."""
    began = time.monotonic()
    command("up")
    return time.monotonic() - began


def pod_manifest() -> str:
    """Write a restricted pod with a volume in memory: a mount, a control group and a shim to leave behind."""
    container = {
        "name": "busybox",
        "image": IMAGE,
        "command": ["/bin/busybox", "sleep", "3600"],
        "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "sleeper", "namespace": NAMESPACE},
        "spec": {
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 11333,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}],
        },
    }
    return json.dumps(pod)


def run_pod(connection: Connection) -> int:
    """Run the pod until it is ready, exercise it, and return its process as the machine numbers it."""
    command("load", str(images.busybox_archive(IMAGE)))
    connection.kubectl("create", "namespace", NAMESPACE)
    connection.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    # The API server refuses pods of a namespace until its ServiceAccount is there.
    connection.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={NAMESPACE}")
    connection.kubectl("create", "--filename=-", stdin=pod_manifest())
    wait = ("wait", "--for=condition=Ready", "pod/sleeper", f"--namespace={NAMESPACE}", "--timeout=60s")
    connection.kubectl(*wait)
    identity = connection.kubectl("exec", "sleeper", f"--namespace={NAMESPACE}", "--", "/bin/busybox", "id", "-u")
    assert identity.strip() == "11333"
    (pid,) = connection.container_pids(NAMESPACE, "sleeper", "busybox")
    return pid


def machine() -> dict[str, object]:
    """Observe what of the machine a cluster might touch."""

    def output(*words: str) -> str:
        # Packet counters change by themselves.
        return re.sub(r"\[\d+:\d+\]", "", subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    return {
        "files": {
            name: sorted(map(str, Path(name).iterdir())) for name in ADDRESSED_DIRECTORIES if Path(name).is_dir()
        },
        "kernel": {name: Path("/proc/sys", name).read_text() for name in KERNEL_SETTINGS},
        "mounts": Path("/proc/self/mounts").read_text(),
        "links": sorted(map(str, Path("/sys/class/net").iterdir())),
        "rules": sorted(line for line in output("iptables-save").splitlines() if line[0] != "#"),
        "hosts": Path("/etc/hosts").read_text(),
    }


def mentioning(cluster: layout.Cluster) -> list[str]:
    """Return the command lines of processes that name the cluster's state directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # ended meanwhile
            continue
        if re.search(rf"{re.escape(str(cluster.state))}(/|\s|$)", line):
            found.append(line)
    return found


@pytest.fixture
def crashed(monkeypatch: pytest.MonkeyPatch) -> Iterator[layout.Cluster]:
    """Provide a second cluster of this checkout, to be mistreated; it is removed afterwards."""
    monkeypatch.setenv(layout.NAME_VARIABLE, "crashed")
    cluster = layout.current_cluster()
    command("down")
    yield cluster
    command("down")


def test_second_cluster_survives_crashes_and_leaves_no_trace(node: Connection, crashed: layout.Cluster) -> None:
    """It starts in time after every kind of end, disturbs neither the first nor the machine, and goes entirely."""
    neighbour, before = node.pids, machine()
    connection = Connection(crashed, crashed.node)
    assert up() < START_SECONDS
    pod = run_pod(connection)
    assert teardown.leftovers(crashed), "nothing is left over while it runs: the check sees nothing"

    # All processes killed at once, the pod's among them, and a mount that outlives them.
    tree = supervisor.machine_pids(crashed.node)
    assert pod in tree.values()
    for pid in tree.values():
        with contextlib.suppress(ProcessLookupError):  # the first one takes the others with it
            os.kill(pid, signal.SIGKILL)
    stray = crashed.node.directory / "stray"
    stray.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(stray)], check=True)
    assert up() < START_SECONDS
    assert not stray.exists()
    pod = run_pod(connection)

    # The record lost while everything still runs.
    crashed.node.record.unlink()
    assert up() < START_SECONDS
    assert not supervisor.is_alive(pod)

    # One component gone: half a cluster is none.
    os.kill(connection.pids["kube-controller-manager"], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not supervisor.progress(crashed.node)["exited"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert up() < START_SECONDS
    assert node.pids == neighbour

    command("down")
    assert teardown.leftovers(crashed) == []
    assert mentioning(crashed) == []
    assert machine() == before


def test_tiers_of_a_cluster_come_and_go_alone(crashed: layout.Cluster) -> None:
    """The tier without a node starts and ends beside the one with it; the last to go takes the rest."""
    command("up", "--tier", "api", "--tier", "node")
    api, node = (Connection(crashed, tier) for tier in (crashed.api, crashed.node))
    processes = node.pids
    assert len(api.pids) == 3
    assert api.kubectl("get", "nodes", "--output=name") == ""
    assert node.kubectl("get", "nodes", "--output=name") == f"node/{layout.NODE_NAME}\n"
    command("down", "--tier", "api")
    assert not crashed.api.directory.exists()
    assert node.pids == processes
    command("down", "--tier", "node")
    assert teardown.leftovers(crashed) == []


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("name", ["mail.example.com", "a.test", "nothing.invalid", "1.2.0.192.in-addr.arpa"])
def test_every_name_is_answered_at_once(name: str) -> None:
    """A name nobody serves is refused within the time of a resolver's patience, not after it."""
    script = f"import socket; print(socket.getaddrinfo('{name}.', 25))"
    began = time.monotonic()
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert time.monotonic() - began < 1
    assert "Name or service not known" in result.stderr or result.returncode == 0


def test_no_address_outside_is_reachable(node: Connection) -> None:
    """Neither tests nor pods have a way out: there is no route but to pods and Services."""
    routes = subprocess.run(node.nsenter("ip", "route"), capture_output=True, text=True, check=True).stdout
    networks = {line.split()[0] for line in routes.splitlines()}
    assert networks <= {layout.POD_NETWORK, layout.NODE_SERVICE_NETWORK}


def test_unused_service_address_is_refused_at_once(node: Connection) -> None:
    """A Service address without a Service is refused, so that nothing waits for a time-out."""
    connect = "import socket; socket.create_connection(('10.96.0.200', 25), 5)"
    began = time.monotonic()
    result = subprocess.run(node.nsenter(sys.executable, "-c", connect), capture_output=True, text=True, check=False)
    assert "ConnectionRefusedError" in result.stderr
    assert time.monotonic() - began < 1


def test_api_server_is_the_pinned_version(node: Connection) -> None:
    """The programs say which version they are, as a packaged Kubernetes would."""
    version = json.loads(node.kubectl("version", "--output=json"))
    assert version["serverVersion"]["gitVersion"] == "v1.37.2"
    assert programs.key(programs.KUBERNETES) in str(programs.directory(programs.KUBERNETES))


def test_audit_log_has_every_request_once(node: Connection) -> None:
    """A request that was made is in the log with its user, also one that changes nothing."""
    mark = uuid.uuid4().hex
    node.kubectl("get", "configmaps", "--namespace=kube-public", f"--selector=mark={mark}")
    found = [event for event in node.audit_events() if mark in str(event["requestURI"])]
    assert len(found) == 1
    assert found[0]["level"] == "Metadata"

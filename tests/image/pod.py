"""The containers of a filter pod on this machine, as the kubelet would start them: one network, shared volumes."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.image.milter import Verdict
from tests.image.rootfs import CHECKOUT, USER, command_in_rootfs, run_in_rootfs

EXAMPLE = Path(__file__).parent / "candidate"
PROGRAMS = "/usr/lib/mailfilter"
SALT = "5a" * 32


def example_files() -> dict[str, str]:
    """The example configuration: path in the candidate -> content."""
    return {str(path.relative_to(EXAMPLE)): path.read_text() for path in EXAMPLE.rglob("*") if path.is_file()}


def write_candidate(
    directory: Path,
    files: Mapping[str, str],
    wanted: str | None = None,
    *,
    secret: Mapping[str, str] | None = None,
    salt: str = SALT,
    tried: Mapping[str, str] | None = None,
    tried_secret: Mapping[str, str] | None = None,
    unproven: bool = False,
) -> str:
    """Lays files out as the projected volume does, replacing what was there; returns the manifest's hash.

    Files below keys/ come from a Secret, under their own names. secret are the files of mx-credentials, where salt is
    too. wanted is the hash that the pod's annotation asks for, by default the right one. tried are the files that the
    pod is to try beside: in the volume are those that differ; tried_secret are more of them, from mx-credentials.
    unproven: no pod has proven the raw text.
    """
    generation = directory / f"..{time.monotonic_ns()}"
    generation.mkdir(parents=True)
    if tried is not None:
        _write_tried(generation, files, tried, tried_secret or {}, salt)
    if unproven:
        (generation / "unproven").write_text("yes")
    digests = {path: hashlib.sha256(content.encode()).hexdigest() for path, content in files.items()}
    for path, content in (secret or {}).items():
        digests[path] = f"salted:{hashlib.sha256((salt + content).encode()).hexdigest()}"
    manifest = ""
    for path, content in sorted({**files, **(secret or {})}.items()):
        key = path.removeprefix("keys/") if path.startswith("keys/") else path.replace("/", "_")
        (generation / key).write_text(content)
        (generation / key).chmod(0o444)
        manifest += f"{digests[path]}  {key}  {path}\n"
    (generation / "salt").write_text(salt)
    (generation / "manifest").write_text(manifest)
    found = hashlib.sha256(manifest.encode()).hexdigest()
    (generation / "wanted-hash").write_text(wanted or found)
    link = directory / "..data.new"
    link.symlink_to(generation.name)
    link.rename(directory / "..data")
    for entry in directory.iterdir():
        if not entry.name.startswith(".."):
            entry.unlink()
    for file in generation.iterdir():
        (directory / file.name).symlink_to(f"..data/{file.name}")
    return found


def _write_tried(
    generation: Path, files: Mapping[str, str], tried: Mapping[str, str], secret: Mapping[str, str], salt: str
) -> None:
    manifest = ""
    for path, content in sorted({**tried, **secret}.items()):
        key = path.removeprefix("keys/") if path.startswith("keys/") else path.replace("/", "_")
        if files.get(path) != content:
            (generation / f"candidate.{key}").write_text(content)
        digest = hashlib.sha256(((salt if path in secret else "") + content).encode()).hexdigest()
        manifest += f"{'salted:' if path in secret else ''}{digest}  {key}  {path}\n"
    (generation / "candidate.manifest").write_text(manifest)
    (generation / "wanted-candidate").write_text(hashlib.sha256(manifest.encode()).hexdigest())


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Seconds until the condition held; AssertionError that names what if it did not within the time."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"{what}: not within {seconds} seconds"
        time.sleep(0.05)
    return time.monotonic() - started


def _read_command_line(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ")


class Container:
    """One running program of the image."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def output(self) -> str:
        """Everything it has printed so far."""
        return self.log.read_text(errors="replace")

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def processes(self) -> dict[int, str]:
        """Ids and command lines of all processes that it has started, as this machine sees them."""
        parents, lines = {}, {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                lines[int(entry.name)] = _read_command_line(int(entry.name))
        found = {self._process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return {pid: lines.get(pid, "") for pid in found}

    @contextlib.contextmanager
    def held(self, program: str) -> Iterator[None]:
        """Stops its process with this command line, once it is there, as long as the block lasts."""

        def find() -> list[int]:
            return [pid for pid, line in self.processes().items() if line.startswith(program)]

        wait_until(lambda: bool(find()), 30, program)
        (pid,) = find()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def signal_all(self, number: signal.Signals) -> None:
        """Sends a signal to all its processes."""
        os.killpg(self._process.pid, number)

    def stop(self) -> float:
        """Ends it with SIGTERM to its first process; seconds that took, AssertionError after 30."""
        started, processes = time.monotonic(), self.processes()
        self._process.terminate()
        try:
            self._process.wait(30)
        finally:
            self._kill(processes)
        return time.monotonic() - started

    def kill(self) -> None:
        """Ends all its processes at once."""
        self._kill(self.processes())

    def _kill(self, processes: Mapping[int, str]) -> None:
        """Ends these too, as the end of a container does: a configuration on trial runs in a session of its own.

        By now another process may have the id of one that has ended.
        """
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for process, line in processes.items():
            with contextlib.suppress(OSError):
                if line and _read_command_line(process) == line:
                    os.kill(process, signal.SIGKILL)
        self._process.wait()


class Pod:
    """Volumes and network of one filter pod; containers are started one by one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.candidate = directory / "candidate"
        self.databases = self._volume("databases")
        self.sockets = self._volume("sockets")
        self._state = self._volume("state")
        self.candidate.mkdir()
        (directory / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        (directory / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        self._network = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.containers: list[Container] = []
        namespace = Path(f"/proc/{self._network.pid}/ns/net")
        here = Path("/proc/self/ns/net").readlink()
        wait_until(lambda: namespace.readlink() != here, 5, "network namespace")
        self.on_network("ip", "link", "set", "lo", "up")

    def _volume(self, name: str) -> Path:
        path = self.directory / name
        path.mkdir()
        os.chown(path, USER, USER)
        return path

    def _on_network(self, *command: str) -> list[str]:
        """Line that runs a command of this machine on the pod's network, one that may import what pytest's may."""
        path = f"PYTHONPATH={CHECKOUT}:{CHECKOUT / 'operator'}"
        return ["nsenter", f"--net=/proc/{self._network.pid}/ns/net", "env", path, *command]

    def on_network(self, *command: str, stdin: bytes | None = None) -> str:
        """Output of a command of this machine that runs on the pod's network; CalledProcessError if it fails."""
        line = self._on_network(*command)
        return subprocess.run(line, check=True, input=stdin, stdout=subprocess.PIPE, cwd=CHECKOUT).stdout.decode()

    def _binds(self, name: str, extra: Mapping[Path, str]) -> dict[Path, str]:
        own = self.directory / name
        for part in ("memory", "tmp"):
            if not (own / part).exists():
                (own / part).mkdir(parents=True)
                os.chown(own / part, USER, USER)
        (own / "termination-log").touch()
        (own / "termination-log").chmod(0o666)
        return {
            self.candidate: "/etc/mailfilter/candidate",
            own / "memory": "/run/mailfilter",
            own / "tmp": "/tmp",
            own / "termination-log": "/dev/termination-log",
            self.databases: "/var/lib/clamav",
            self.sockets: "/run/clamav",
            self._state: "/var/lib/rspamd",
            self.directory / "resolv.conf": "/etc/resolv.conf",
            self.directory / "hosts": "/etc/hosts",
            **extra,
        }

    def start(self, name: str, *argv: str, extra: Mapping[Path, str] | None = None) -> Container:
        """Starts the container of this name; argv replaces its entry point."""
        line = command_in_rootfs(
            argv or (f"{PROGRAMS}/{name}",), self._binds(name, extra or {}), net_of=self._network.pid
        )
        container = Container(line, self.directory / f"{name}.log")
        self.containers.append(container)
        return container

    def start_outside(self, name: str, *command: str) -> Container:
        """Starts a program of this machine on the pod's network."""
        line = self._on_network(*command)
        container = Container(line, self.directory / f"{name}.log")
        self.containers.append(container)
        return container

    def run(self, name: str, *argv: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs a command in the container of this name, as `kubectl exec` does."""
        return run_in_rootfs(argv, self._binds(name, {}), net_of=self._network.pid, timeout=timeout)

    def ready(self, name: str) -> bool:
        """Whether the readiness probe of rspamd or clamd succeeds."""
        return self.run(name, f"{PROGRAMS}/probe-{name}").returncode == 0

    def scan(self, message: bytes, *arguments: str) -> Verdict:
        """The milter's verdict; arguments are client address, sender and user name."""
        answer = self.on_network(sys.executable, "-m", "tests.image.milter", "11332", *arguments, stdin=message)
        return Verdict(**json.loads(answer))

    def get(self, path: str, port: int = 11380) -> str:
        """The answer to an HTTP request on the pod's network; CalledProcessError unless it is a good one."""
        program = (
            "import http.client, sys; asking = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=10); "
            "asking.request('GET', sys.argv[2]); answer = asking.getresponse(); "
            "sys.stdout.write(answer.read().decode()); sys.exit(answer.status != 200)"
        )
        return self.on_network(sys.executable, "-c", program, str(port), path)

    @contextlib.contextmanager
    def hold_session(self) -> Iterator[None]:
        """A milter session that has begun and says nothing more, as long as the block lasts."""
        program = (
            "import sys; from mailfilter_operator.milter import Session; "
            "held = Session('127.0.0.1', 11332, seconds=10); print(); sys.stdin.read()"
        )
        line = self._on_network(sys.executable, "-u", "-c", program)
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=CHECKOUT) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"\n"
            yield
            holder.kill()

    def state(self) -> dict[str, Any]:
        """What the pod reports on port 11380; empty if it does not answer."""
        try:
            answer: dict[str, Any] = json.loads(self.get("/cgi-bin/state"))
        except (subprocess.CalledProcessError, ValueError):
            return {}
        return answer

    def wait_active(self, wanted: str, seconds: float = 40) -> float:
        """Seconds until the pod reports that it serves the configuration of this hash."""
        return wait_until(lambda: self.state().get("active") == wanted, seconds, f"{wanted} is active")

    def remove(self) -> None:
        """Ends everything that was started."""
        for container in self.containers:
            container.kill()
        self._network.kill()
        self._network.wait()


@contextlib.contextmanager
def pod(directory: Path) -> Iterator[Pod]:
    """A pod in an empty directory that is gone afterwards."""
    made = Pod(directory)
    try:
        yield made
    finally:
        made.remove()
        shutil.rmtree(directory, ignore_errors=True)

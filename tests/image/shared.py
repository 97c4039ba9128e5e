"""The shared signature service on a pod's network, with the server that stands for the ClamAV network behind it."""

import os
import sys
from pathlib import Path

from tests.image.pod import PROGRAMS, Container, Pod, wait_until
from tests.image.rootfs import USER
from tests.image.web import Answer, ask
from tests.mail import signed_databases

OFFICIAL = ("bytecode", "daily", "main")
PORT, UPSTREAM_PORT = 8080, 8081
MIRROR = f"PrivateMirror http://127.0.0.1:{UPSTREAM_PORT}\n"
NETWORK = f"DatabaseMirror http://127.0.0.1:{UPSTREAM_PORT}\nDNSDatabaseInfo no\n"
"""As the ClamAV network is asked: what it refuses is remembered."""


def start_upstream(pod: Pod, directory: Path, port: int, *options: str) -> Container:
    """Starts tests/image/upstream.py on a pod's network."""
    return pod.start_outside(
        f"upstream-{port}", sys.executable, "-m", "tests.image.upstream", str(port), str(directory), *options
    )


class Service:
    """Containers and volumes of mailfilter-signatures, and the upstream server."""

    def __init__(self, pod: Pod, version: int | None = 5, *options: str) -> None:
        self.pod = pod
        self.volume = self._directory("shared/volume")
        self._configuration = self._directory("shared/configuration")
        self._starts = 0
        self.upstream_files = self._directory("shared/upstream")
        if version is not None:
            self.publish(version)
        self.upstream = start_upstream(pod, self.upstream_files, UPSTREAM_PORT, *options)

    def _directory(self, name: str) -> Path:
        path = self.pod.directory / name
        path.mkdir(parents=True)
        os.chown(path, USER, USER)
        return path

    def publish(self, version: int) -> None:
        """Makes upstream have a version of the databases."""
        for name in OFFICIAL:
            unfinished = self.upstream_files / "unfinished"
            unfinished.write_bytes(signed_databases.read(version))
            unfinished.rename(self.upstream_files / f"{name}.cvd")

    def configure(self, text: str, **files: str) -> None:
        """Writes freshclam.conf and other files as the kubelet does."""
        generation = self._configuration / f"..{len(list(self._configuration.iterdir()))}"
        generation.mkdir()
        for name, content in {"freshclam.conf": text, **files}.items():
            (generation / name).write_text(content)
            link = self._configuration / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        new = self._configuration / "..data.new"
        new.symlink_to(generation.name)
        new.rename(self._configuration / "..data")

    def mirror(self) -> Container:
        """Starts the container freshclam."""
        extra = {self.volume: "/var/lib/clamav", self._configuration: "/etc/mailfilter/signatures"}
        self._starts += 1
        return self.pod.start(f"mirror-{self._starts}", f"{PROGRAMS}/mirror-signatures", extra=extra)

    def serve(self) -> Container:
        """Starts the container httpd."""
        return self.pod.start("httpd", f"{PROGRAMS}/serve-signatures", extra={self.volume: "/var/lib/clamav"})

    def start(self, text: str = MIRROR) -> Container:
        """Starts both, and returns when every database is served."""
        self.configure(text)
        container = self.mirror()
        self.serve()
        wait_until(lambda: len(self.versions()) == len(OFFICIAL), 30, "databases that are served")
        return container

    def get(self, path: str) -> Answer:
        """What the web server answers."""
        return ask(self.pod, PORT, path)

    def versions(self) -> dict[str, str]:
        """Version by file, as it is served; empty as long as there is nothing."""
        path = self.volume / "served/versions"
        lines = path.read_text().splitlines() if path.exists() else []
        return {line.split(" ")[0]: line.split(" ")[1] for line in lines}

    def requests(self) -> list[str]:
        """What upstream was asked for so far."""
        return [line for line in self.upstream.output().splitlines() if line.startswith(("GET", "HEAD", "POST"))]

"""Another clamd in the place of a pod's own, at the socket that rspamd asks: one that answers what a test wants."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.demo.installation import ROOT
from tests.e2e import processes
from tests.image.rootfs import USER
from tests.mail.polling import eventually

SOCKET = "run/clamav/clamd.sock"
_CONF = """\
Foreground yes
LogTime yes
LocalSocket /run/clamav/clamd.sock
LocalSocketMode 666
TemporaryDirectory /tmp
DatabaseDirectory /tmp/other
ConcurrentDatabaseReload no
IdleTimeout 1
"""


def directory(pod: dict[str, Any]) -> Path:
    """Return the root directory of the pod's container clamd, as this machine sees it."""
    return processes.root_of(pod["metadata"]["uid"], "clamd")


@contextlib.contextmanager
def answering(pod: dict[str, Any], answer: str) -> Iterator[None]:
    """Let every scan of the pod be answered by *answer* as long as the block lasts; "" closes the connection."""
    path = directory(pod) / SOCKET
    command = [sys.executable, "-m", "tests.image.fake_clamd", str(path), answer]
    with _aside(path), _running(command, cwd=ROOT):
        # It shows the socket before it listens; only the mode comes after that.
        eventually(lambda: path.exists() and path.stat().st_mode & 0o777 == 0o666, within_seconds=10, what="a socket")
        yield


@contextlib.contextmanager
def sparing(pod: dict[str, Any], databases: dict[str, bytes]) -> Iterator[Path]:
    """Let a clamd of the pod's image that loads one engine after the other take the place of the pod's own.

    Provides the directory of its databases.
    """
    root, path = directory(pod), directory(pod) / SOCKET
    own = root / "tmp/other"
    own.mkdir()
    for name, content in databases.items():
        (own / name).write_bytes(content)
    (root / "tmp/other.conf").write_text(_CONF)
    (pid,) = [part for part in root.parts if part.isdigit()]
    inside = ["nsenter", f"--target={pid}", "--mount", "--root", "--wd", f"--setuid={USER}", f"--setgid={USER}"]
    try:
        with _aside(path), _running([*inside, "/usr/sbin/clamd", "--config-file=/tmp/other.conf"]):
            eventually(path.exists, within_seconds=30, what="another clamd")
            yield own
    finally:
        processes.empty_directory(own)
        own.rmdir()
        (root / "tmp/other.conf").unlink()


@contextlib.contextmanager
def _aside(path: Path) -> Iterator[None]:
    kept = path.with_name("kept.sock")
    path.rename(kept)
    try:
        yield
    finally:
        kept.rename(path)


@contextlib.contextmanager
def _running(command: list[str], cwd: Path | None = None) -> Iterator[None]:
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()

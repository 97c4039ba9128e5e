"""Custom signature databases in the filter's pods: what freshclam has of them, and having it ask at once."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.e2e import processes
from tests.mail.polling import eventually


def directory(pod: dict[str, Any]) -> Path:
    """Return the directory of a pod's databases, as this machine sees it; good until its freshclam is restarted."""
    return processes.root_of(pod["metadata"]["uid"], "freshclam") / "var/lib/clamav"


def fetch_again(directories: Iterable[Path], name: str) -> None:
    """Let freshclam ask for custom database *name* within seconds; its own next look is hours away.

    It asks at once for what is not in the directory of its source; clamd has a link of its own to what it has loaded.
    """
    for path in (path for one in directories for path in _fetched(one, name)):
        path.unlink()


def check_now(pod: dict[str, Any]) -> None:
    """Let freshclam ask for ClamAV's own databases at once; its own next look is hours away.

    By its documented signal, which it catches only while it waits for that look: else it would end, as would the shell
    that has started it.
    """

    def waiting() -> list[int]:
        return [pid for pid in processes.find(pod["metadata"]["uid"], "freshclam") if _catches(pid, signal.SIGUSR1)]

    (daemon,) = eventually(waiting, within_seconds=90, what="freshclam waiting for its next look")
    os.kill(daemon, signal.SIGUSR1)


def is_fetched(one: Path, name: str) -> bool:
    """Tell whether freshclam has the custom database *name*, tried or not."""
    return bool(_fetched(one, name))


def identify(one: Path, name: str) -> tuple[int, int] | None:
    """Identify the database *name* that clamd is to load, None while there is none; another one differs."""
    with contextlib.suppress(FileNotFoundError):
        status = (one / name).stat()
        return status.st_ino, status.st_mtime_ns
    return None


def _catches(pid: int, number: signal.Signals) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        (mask,) = (int(line.split()[1], base=16) for line in lines if line.startswith("SigCgt:"))
        return bool(mask >> number - 1 & 1)
    return False


def _fetched(one: Path, name: str) -> list[Path]:
    return [path for path in (one / "custom").glob(f"*/{name}") if path.is_file()]

"""Directories for what is built, outside the checkout and keyed by what went into them.

An entry is complete or absent: it is made beside its place and moved there in one step.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

_UNFINISHED = ".unfinished-"


def root() -> Path:
    """Return the cache directory of the project, which need not exist."""
    if chosen := os.environ.get("MAILFILTER_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mailfilter-operator"


def key(parts: Iterable[bytes]) -> str:
    """Hash *parts* and their boundaries: equal keys mean equal inputs."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:20]


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock *name*, which all checkouts of this user share; waits for it."""
    path = root() / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def entry(kind: str, entry_key: str, build: Callable[[Path], None]) -> Path:
    """Return the directory of *kind* and *entry_key*, made by *build* if it is not there yet.

    *build* gets an empty directory to fill; if it raises, nothing is kept.
    """
    place = root() / kind / entry_key
    if place.is_dir():
        return place
    with locked(kind.replace("/", "-")):
        if place.is_dir():
            return place
        place.parent.mkdir(parents=True, exist_ok=True)
        for abandoned in place.parent.glob(f"{_UNFINISHED}*"):  # whoever made it was killed: we hold the lock
            shutil.rmtree(abandoned)
        fresh = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=place.parent))
        try:
            build(fresh)
            fresh.chmod(0o755)
            fresh.rename(place)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
    return place

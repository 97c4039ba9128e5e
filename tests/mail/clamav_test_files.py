"""ClamAV's own test files, out of Debian's package clamav-testfiles: `python3 -m tests.mail.clamav_test_files`.

One harmless program, packed and wrapped in the ways that ClamAV knows to undo.  They are fetched once, while there is a
network, into the cache, never committed.  Needs no environment.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.cluster import cache
from tests.mail.signed_databases import SUITE, apt_options

PROGRAM = "clam.exe"
"""What all others hold."""
_PACKAGE = "clamav-testfiles"
_FOLDER = "./usr/share/clamav-testfiles/"


def directory() -> Path:
    """Return where the files lie, or shall lie."""
    return cache.root() / _PACKAGE / SUITE


def read_all() -> dict[str, bytes]:
    """Return the files by name; FileNotFoundError says how to get them."""
    found = {path.name: path.read_bytes() for path in sorted(directory().glob("clam*"))}
    if PROGRAM not in found:
        raise FileNotFoundError(
            f"{directory()}: run `python3 -m tests.mail.clamav_test_files` while there is a network"
        )
    return found


def fetch() -> Path:
    """Download Debian's package, keep its test files, return their directory."""
    return cache.entry(_PACKAGE, SUITE, _download)


def _download(target: Path) -> None:
    """Fill *target* with the test files."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        apt = ["apt-get", "--quiet", *apt_options(scratch, "deb")]
        subprocess.run([*apt, "update"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*apt, "download", _PACKAGE], check=True, cwd=scratch, stdout=subprocess.DEVNULL)
        (package,) = scratch.glob(f"{_PACKAGE}_*.deb")
        unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as packed:
            for member in packed:
                content = packed.extractfile(member)
                if content is not None and member.name.startswith(_FOLDER):
                    (target / Path(member.name).name).write_bytes(content.read())


if __name__ == "__main__":
    print(fetch())
    sys.exit(0)

"""Signed ClamAV databases for tests, out of Debian's source package: `python3 -m tests.mail.signed_databases`.

They are small and carry ClamAV's own signature, so that freshclam takes them from a mirror as it takes the real ones.
They are fetched once, while there is a network, into the cache, never committed.  Needs no environment.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.cluster import cache

SUITE = "forky"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_FOLDER = "unit_tests/input/freshclam_testfiles/"
_HEADER_BYTES = 512
_KIND = "clamav-test-databases"


def directory() -> Path:
    """Return where the databases lie, or shall lie: test-1.cvd to test-6.cvd and the differences between them."""
    return cache.root() / _KIND / SUITE


def read(version: int) -> bytes:
    """Return version *version* (1 to 6) of the test database; FileNotFoundError says how to get it."""
    path = directory() / f"test-{version}.cvd"
    if not path.exists():
        raise FileNotFoundError(f"{path}: run `python3 -m tests.mail.signed_databases` while there is a network")
    return path.read_bytes()


def body_signatures(database: bytes) -> dict[str, bytes]:
    """Return the plain byte patterns of a signed database by name; a file that holds one is reported by it."""
    with tarfile.open(fileobj=io.BytesIO(database[_HEADER_BYTES:])) as packed:
        member = packed.extractfile("test.ndb")
        lines = member.read().decode().splitlines() if member else []
    patterns = {}
    for line in lines:
        name, _, offset, text, *_ = [*line.split(":"), "", "", ""]
        with contextlib.suppress(ValueError):
            if offset == "*" and text:
                patterns[name] = bytes.fromhex(text)
    return patterns


def fetch() -> Path:
    """Download Debian's source package of ClamAV, keep its test databases, return their directory."""
    return cache.entry(_KIND, SUITE, _download)


def _download(target: Path) -> None:
    """Fill *target* with the test databases."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        apt = ["apt-get", "--quiet", *apt_options(scratch, "deb-src")]
        subprocess.run([*apt, "update"], check=True, stdout=subprocess.DEVNULL)
        source = [*apt, "source", "--download-only", "clamav"]
        subprocess.run(source, check=True, cwd=scratch, stdout=subprocess.DEVNULL)
        for path, content in _test_files(next(scratch.glob("clamav_*.orig.tar.*"))):
            (target / path).write_bytes(content)


def apt_options(scratch: Path, kind: str) -> list[str]:
    """Return options that let apt-get use its own state below *scratch* and the machine's own mirror.

    *kind* is `deb` for packages or `deb-src` for their sources.
    """
    for folder in ("etc/sources.list.d", "lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    source = f"Types: {kind}\nURIs: {_mirror()}\nSuites: {SUITE}\nComponents: main\nSigned-By: {_KEYRING}\n"
    (scratch / "etc/sources.list.d/source.sources").write_text(source)
    return [
        f"-oDir::Etc::sourcelist={scratch}/etc/sources.list",
        f"-oDir::Etc::sourceparts={scratch}/etc/sources.list.d",
        f"-oDir::State::lists={scratch}/lists",
        f"-oDir::Cache={scratch}/cache",
        "-oAPT::Sandbox::User=root",
        # What is fetched is read, never installed: a Release file past its date, as snapshots have it, will do.
        "-oAcquire::Check-Valid-Until=false",
    ]


def _mirror() -> str:
    """Return the Debian mirror that the machine's own apt is set up with."""
    shown = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", shown, "Created-By: Packages"]
    targets = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    for target in targets:
        uri, release, component = target.split(" ")
        if component == "main" and "-" not in release and "debian" in uri:
            return uri
    raise SystemExit("no Debian mirror is set up in apt on this machine")


def _test_files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the test databases in ClamAV's source archive."""
    with tarfile.open(archive) as packed:
        for member in packed:
            if _FOLDER in member.name and member.isfile():
                content = packed.extractfile(member)
                if content is not None:
                    yield Path(member.name).name, content.read()


if __name__ == "__main__":
    print(fetch())
    sys.exit(0)

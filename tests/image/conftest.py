"""Pods of the real image for the tests in this directory."""

import functools
import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.image.pod import Container, Pod, example_files, wait_until
from tests.image.rootfs import CHECKOUT, rootfs

DEMO_URL = "http://127.0.0.1:8080/demo.ndb"
DEMO_DATABASE = f"Demo.Pattern:0:*:{b'demo-virus-pattern'.hex()}\n"


@functools.cache
def signing_key() -> str:
    """A DKIM key, the same for all tests."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def files(changes: dict[str, str] | None = None) -> dict[str, str]:
    """The example configuration with a signing key; changes are whole files."""
    return {**example_files(), "keys/example.com.mf1.key": signing_key(), **(changes or {})}


def serve_databases(pod: Pod) -> Container:
    """The web server that the example freshclam.conf names, with one database."""
    directory = pod.directory / "www"
    directory.mkdir(exist_ok=True)
    (directory / "demo.ndb").write_text(DEMO_DATABASE)
    return pod.start_outside(
        "www", sys.executable, "-m", "http.server", "8080", "--bind", "127.0.0.1", "--directory", str(directory)
    )


def place_database(pod: Pod) -> None:
    """Puts a database where freshclam would have put it, which has asked the example's one source."""
    unfinished = pod.databases / "unfinished"
    unfinished.write_text(DEMO_DATABASE)
    unfinished.rename(pod.databases / "demo.ndb")
    note_source(pod, DEMO_URL, "success")


def note_source(pod: Pod, url: str, what: str = "") -> None:
    """Notes what came of a check of a custom URL, `success` or `failure`, as freshclam's entry point does."""
    directory = pod.sockets / "sources"
    directory.mkdir(exist_ok=True)
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    came = f"{what} {time.time():.0f}\n" if what else ""
    (directory / name).write_text(f"name {url.rpartition('/')[2]}\n{came}")


def wait_ready(pod: Pod, *names: str, seconds: float = 40) -> None:
    """Returns when the readiness probes of the named containers succeed."""
    for name in names:
        wait_until(functools.partial(pod.ready, name), seconds, f"{name} ready")


@pytest.fixture(scope="session")
def make_pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Pod]]:
    """Makes pods with a name server that are removed after all tests."""
    made: list[Pod] = []

    def make() -> Pod:
        pod = Pod(tmp_path_factory.mktemp("pod"))
        made.append(pod)
        pod.start_outside("dns", sys.executable, "-m", "tests.image.nameserver", "127.0.0.1")
        return pod

    yield make
    for pod in made:
        pod.remove()


@pytest.fixture
def pod(make_pod: Callable[[], Pod]) -> Iterator[Pod]:
    """Provide a pod without containers."""
    made = make_pod()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def unpatched_clamav_lua(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide rspamd's clamav.lua as upstream publishes it."""
    inside = "usr/share/rspamd/lualib/lua_scanners/clamav.lua"
    directory = tmp_path_factory.mktemp("upstream")
    (directory / inside).parent.mkdir(parents=True)
    (directory / inside).write_bytes((rootfs() / inside).read_bytes())
    patch = CHECKOUT / "image" / "filter" / "clamav-lua-failclosed.patch"
    command = ["patch", "--reverse", "--strip=1", "--batch", f"--directory={directory}", f"--input={patch}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return directory / inside

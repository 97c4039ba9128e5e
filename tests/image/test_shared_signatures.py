"""The signature service that all filters share, and the pods that take from it."""

import os
import sys
from functools import partial
from pathlib import Path

import pytest
from tests.image.conftest import files
from tests.image.pod import PROGRAMS, Container, Pod, wait_until, write_candidate
from tests.image.shared import MIRROR, NETWORK, OFFICIAL, PORT, UPSTREAM_PORT, Service
from tests.mail import signed_databases

FRESHCLAM = "clamav/freshclam.conf"
SHARED = f"DatabaseDirectory /var/lib/clamav\nChecks 1\nTestDatabases no\nPrivateMirror http://127.0.0.1:{PORT}\n"
VERSIONS = f"http://127.0.0.1:{PORT}/versions\n"
VERSION_OF = {number: str(number) for number in range(1, 7)}


@pytest.fixture
def service(pod: Pod) -> Service:
    """Provide the service, not started, with version 5 of the test databases upstream."""
    return Service(pod)


def offer(pod: Pod) -> None:
    """Offers a pod's freshclam the configuration of the source Shared."""
    write_candidate(pod.candidate, files({FRESHCLAM: SHARED, "clamav/versions.url": VERSIONS}))


def start_freshclam(pod: Pod, name: str = "freshclam", volume: Path | None = None) -> Container:
    """A pod's freshclam that looks every two seconds whether there is something newer."""
    extra = {volume: "/var/lib/clamav"} if volume else {}
    return pod.start(name, "env", "MAILFILTER_VERSIONS_SECONDS=2", f"{PROGRAMS}/freshclam", extra=extra)


def has(volume: Path, content: bytes) -> bool:
    """Whether a directory has all databases with this content."""
    found = [volume / f"{name}.cvd" for name in OFFICIAL]
    return all(path.exists() and path.read_bytes() == content for path in found)


def test_pods_take_from_the_service_and_cause_no_request_upstream(pod: Pod, service: Service) -> None:
    service.start()
    before = service.requests()
    offer(pod)
    volumes = [pod.directory / f"databases-{number}" for number in range(5)]
    for number, volume in enumerate(volumes):
        volume.mkdir()
        os.chown(volume, 11333, 11333)
        start_freshclam(pod, f"freshclam-{number}", volume)
    for volume in volumes:
        wait_until(partial(has, volume, signed_databases.read(5)), 30, f"databases in {volume.name}")
    assert service.requests() == before
    assert sorted(line for line in before if line.endswith("whole")) == [
        f"GET /{name}.cvd 200 whole" for name in OFFICIAL
    ]


def test_without_a_configuration_the_clamav_network_is_asked(service: Service) -> None:
    container = service.mirror()
    wait_until(lambda: "database.clamav.net" in container.output(), 30, "the attempt")


def test_a_configuration_may_end_without_a_newline(service: Service) -> None:
    """As `kubectl create configmap --from-literal` writes it."""
    service.configure(MIRROR.rstrip(), **{"proxy.conf": "HTTPProxyServer 127.0.0.1\nHTTPProxyPort 9"})
    container = service.mirror()
    wait_until(lambda: "Failed" in container.output() or "ERROR" in container.output(), 30, "the attempt")
    assert f"{UPSTREAM_PORT}HTTPProxyServer" not in container.output()
    assert "Connecting via 127.0.0.1" in container.output()


def test_an_update_reaches_a_pod_by_the_versions(pod: Pod, service: Service) -> None:
    """Both freshclams look once a day; upstream's is started anew in place of its next look."""
    mirror = service.start(MIRROR + "Checks 1\n")
    offer(pod)
    container = start_freshclam(pod)
    wait_until(lambda: has(pod.databases, signed_databases.read(5)), 30, "the first version")
    service.publish(6)
    assert mirror.stop() < 3
    service.mirror()
    wait_until(lambda: has(pod.databases, signed_databases.read(6)), 30, "the second version")
    assert container.output().count("the shared service has newer signatures") == 1


def test_a_new_container_on_the_same_volume_downloads_nothing(service: Service) -> None:
    """And what is there is served meanwhile."""
    first = service.start(NETWORK)
    uuid = (service.volume / "freshclam.dat").read_bytes()
    (service.volume / "tmp.0123456789").mkdir()
    before = service.requests()
    assert first.stop() < 3
    assert service.get("/daily.cvd").status == 200
    second = service.mirror()
    wait_until(lambda: "up-to-date" in second.output(), 20, "a look at the databases")
    wait_until(lambda: not (service.volume / "tmp.0123456789").exists(), 5, "what was unfinished is gone")
    assert [line for line in service.requests()[len(before) :] if line.endswith("200 whole")] == []
    assert (service.volume / "freshclam.dat").read_bytes() == uuid


def test_a_new_container_on_the_same_volume_keeps_away_as_long_as_it_was_told_to(pod: Pod) -> None:
    service = Service(pod, None)
    (service.upstream_files / ".status").write_text("429")
    service.configure(NETWORK)
    first = service.mirror()
    wait_until(lambda: "Giving up on" in first.output(), 30, "the refusal")
    assert first.stop() < 3
    before = service.requests()
    second = service.mirror()
    wait_until(lambda: "cool-down" in second.output(), 20, "freshclam keeps away")
    assert service.requests() == before


LARGE = 64 << 20
"""Bytes; more than the kernel keeps for a client that does not read."""

HOLD = f"""\
import socket, time
for _ in range(100):
    held = socket.socket()
    if held.connect_ex(("127.0.0.1", {PORT})) == 0:
        break
    time.sleep(0.1)
held.sendall(b"GET /large HTTP/1.0\\r\\n\\r\\n")
time.sleep(8)
received = 0
try:
    while chunk := held.recv(1 << 20):
        received += len(chunk)
except ConnectionError:
    pass
print("received", received, flush=True)
"""


@pytest.mark.parametrize(("seconds", "whole"), [(3, False), (60, True)])
def test_a_client_that_does_not_read_is_let_go(pod: Pod, service: Service, seconds: int, *, whole: bool) -> None:
    """Each takes one of the web server's connections."""
    served = service.volume / "served"
    served.mkdir()
    with (served / "large").open("wb") as large:
        large.truncate(LARGE)
    argv = ("env", f"MAILFILTER_DOWNLOAD_SECONDS={seconds}", f"{PROGRAMS}/serve-signatures")
    pod.start("httpd", *argv, extra={service.volume: "/var/lib/clamav"})
    client = pod.start_outside("client", sys.executable, "-c", HOLD)
    wait_until(lambda: "received " in client.output(), 30, "the end of the client")

    assert (int(client.output().split()[-1]) > LARGE) is whole


def test_only_complete_databases_are_served_and_only_to_be_read(pod: Pod, service: Service) -> None:
    service.start(NETWORK)
    (service.volume / "tmp.abc").mkdir()
    (service.volume / "tmp.abc/daily.cvd").write_text("half of it")
    assert sorted(path.name for path in (service.volume / "served").iterdir()) == [
        *(f"{name}.cvd" for name in OFFICIAL),
        "versions",
    ]
    assert service.get("/daily.cvd").status == 200
    lines = service.get("/versions").text.splitlines()
    assert [line.split(" ", 2)[:2] for line in lines] == [[f"{name}.cvd", VERSION_OF[5]] for name in OFFICIAL]
    for path in (
        "/",
        "/freshclam.dat",
        "/../freshclam.dat",
        "/%2e%2e/freshclam.dat",
        "/..%2ffreshclam.dat",
        "/tmp.abc/daily.cvd",
        "/.versions",
        "/cgi-bin/",
        "/cgi-bin/state",
        "/cgi-bin/../daily.cvd/x",
        "/etc/passwd",
    ):
        assert service.get(path).status in (400, 403, 404), path
    for path in ("/daily.cvd", "/cgi-bin/state", "/new.cvd"):
        posted = "import http.client, sys\n" + "".join(
            f"asking = http.client.HTTPConnection('127.0.0.1', {PORT}, timeout=10)\n"
            f"asking.request({method!r}, {path!r}, 'x')\nprint(asking.getresponse().status)\n"
            for method in ("POST", "PUT", "DELETE")
        )
        statuses = pod.on_network("python3", "-c", posted).split()
        assert [status for status in statuses if status not in ("400", "403", "404", "405", "501")] == [], path


def test_another_configuration_is_taken_up_and_one_that_is_wrong_is_not(service: Service) -> None:
    service.configure("DatabaseMirror http://127.0.0.1:9\nDNSDatabaseInfo no\n")
    container = service.mirror()
    service.configure("NoSuchOption yes\n")
    wait_until(lambda: "does not accept its configuration" in container.output(), 20, "the report")
    assert container.running()
    service.configure(MIRROR)
    wait_until(lambda: len(service.versions()) == len(OFFICIAL), 40, "databases of the other mirror")


def test_a_database_that_upstream_breaks_is_not_served(service: Service) -> None:
    mirror = service.start(MIRROR)
    good = signed_databases.read(6)
    for name in OFFICIAL:
        broken = service.upstream_files / "broken"
        broken.write_bytes(good[:600] + bytes(len(good) - 600))
        broken.rename(service.upstream_files / f"{name}.cvd")
    mirror.stop()
    asked = len(service.requests())
    service.mirror()
    wait_until(lambda: len(service.requests()) >= asked + 3, 30, "upstream asked again")
    assert set(service.versions().values()) == {VERSION_OF[5]}
    assert (service.volume / "served/daily.cvd").read_bytes() == signed_databases.read(5)


def test_an_older_database_is_not_served_whatever_upstream_calls_it(service: Service) -> None:
    """It has ClamAV's signature, and freshclam takes it."""
    first = service.start(MIRROR)
    later = signed_databases.read(6)[:512].replace(b":6:", b":9:", 1)
    for name in OFFICIAL:
        (service.upstream_files / f"{name}.cvd.first").write_bytes(later)
    service.publish(3)
    first.stop()
    second = service.mirror()
    wait_until(lambda: second.output().count("updated (version: 3,") >= 9, 40, "all attempts")
    wait_until(lambda: has(service.volume, signed_databases.read(5)), 10, "what is put back, for freshclam to compare")
    assert has(service.volume / "served", signed_databases.read(5))
    assert set(service.versions().values()) == {VERSION_OF[5]}

"""freshclam goes through a proxy, trusts more certificates, and leaves signatures out, all while it runs."""

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.cluster.certificates import Authority
from tests.image.conftest import files, serve_databases, wait_ready
from tests.image.pod import Container, Pod, wait_until, write_candidate
from tests.image.shared import OFFICIAL, UPSTREAM_PORT, Service, start_upstream
from tests.mail import signed_databases

from mailfilter_operator.api import SecretKeyReference, SecretReference, Signatures
from mailfilter_operator.references import References
from mailfilter_operator.way_out import read_way_out

FRESHCLAM = "clamav/freshclam.conf"
PROXY_PORT = 3128
USERNAME = "filter"
PASSWORD = "p%41ss:w@rd#\\x/"  # noqa: S105 - of tests; each of these means something to somebody
BASIC = "DatabaseDirectory /var/lib/clamav\nChecks 12\nTestDatabases no\n"
EXPECTED = signed_databases.read(5)


def way_out(proxy: Mapping[str, str] | None = None, certificates: str = "") -> dict[str, str]:
    """The files that the operator makes of Secrets."""

    def secret(texts: Mapping[str, str]) -> dict[str, dict[str, str]]:
        return {"data": {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}}

    signatures = Signatures(
        proxy_secret_ref=SecretReference("proxy") if proxy else None,
        ca_bundle_ref=SecretKeyReference("ca", "ca.crt") if certificates else None,
    )
    found = {"proxy": secret(proxy or {}), "ca": secret({"ca.crt": certificates})}
    return dict(read_way_out(signatures, References({}, found)))


PROXY = {"url": f"http://127.0.0.1:{PROXY_PORT}", "username": USERNAME, "password": PASSWORD}


def start_proxy(pod: Pod) -> Container:
    """A proxy that asks for name and password."""
    directory = pod.directory / "proxy"
    directory.mkdir()
    (directory / ".proxy").write_text(f"{USERNAME}:{PASSWORD}")
    return start_upstream(pod, directory, PROXY_PORT, "proxy")


def fetched(directory: Path) -> bool:
    """Whether a directory has all databases."""
    found = [directory / f"{name}.cvd" for name in OFFICIAL]
    return all(path.exists() and path.read_bytes() == EXPECTED for path in found)


def test_a_pod_goes_through_the_proxy_and_its_password_is_nowhere_else(pod: Pod) -> None:
    upstream = Service(pod)
    proxy = start_proxy(pod)
    text = f"{BASIC}PrivateMirror http://127.0.0.1:{UPSTREAM_PORT}\n"
    custom = f"DatabaseCustomURL http://127.0.0.1:{UPSTREAM_PORT}/own.ndb\n"
    (upstream.upstream_files / "own.ndb").write_text("Own:0:*:6f776e\n")
    wrong = way_out({**PROXY, "password": "wrong"})
    write_candidate(pod.candidate, files({FRESHCLAM: text + custom}), secret=wrong)
    container = pod.start("freshclam")
    wait_until(lambda: " 407" in proxy.output(), 20, "a request without the right password")
    write_candidate(pod.candidate, files({FRESHCLAM: text + custom}), secret=way_out(PROXY))
    lines: set[str] = set()

    def done() -> bool:
        lines.update(container.processes().values())
        return fetched(pod.databases) and (pod.databases / "own.ndb").exists()

    wait_until(done, 40, "databases through the proxy")
    tunnels = [
        line for line in proxy.output().splitlines() if line.startswith(f"CONNECT 127.0.0.1:{UPSTREAM_PORT} 200")
    ]
    assert len(tunnels) >= len(upstream.requests()) > len(OFFICIAL), "nothing went past the proxy"
    assert any("freshclam" in line for line in lines)
    assert PASSWORD not in container.output() + "".join(lines)
    memory = pod.directory / "freshclam/memory"
    holding = [path for path in memory.rglob("*") if path.is_file() and PASSWORD in path.read_text(errors="replace")]
    assert holding
    assert [path for path in holding if path.stat().st_mode & 0o077] == []


def test_the_shared_service_is_not_asked_through_the_proxy(pod: Pod) -> None:
    """It is inside the cluster; custom URLs are not."""
    service = Service(pod)
    service.start()
    proxy = start_proxy(pod)
    (service.upstream_files / "own.ndb").write_text("Own:0:*:6f776e\n")
    text = f"{BASIC}PrivateMirror http://127.0.0.1:8080\nDatabaseCustomURL http://127.0.0.1:{UPSTREAM_PORT}/own.ndb\n"
    offered = files({FRESHCLAM: text, "clamav/versions.url": "http://127.0.0.1:8080/versions\n"})
    write_candidate(pod.candidate, offered, secret=way_out(PROXY))
    pod.start("freshclam")
    wait_until(lambda: fetched(pod.databases) and (pod.databases / "own.ndb").exists(), 40, "all databases")
    asked = {line.split()[1] for line in proxy.output().splitlines() if line.startswith("CONNECT")}
    assert asked == {f"127.0.0.1:{UPSTREAM_PORT}"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Provide an authority that nobody trusts, and a certificate of it for 127.0.0.1 in server.pem."""
    made = Authority(tmp_path / "authority")
    made.create()
    made.issue("server", "/CN=mirror", ("IP:127.0.0.1",))
    pem = "".join((made.directory / f"server.{end}").read_text() for end in ("key", "crt"))
    (made.directory / "server.pem").write_text(pem)
    return made


def test_a_pod_trusts_the_certificates_that_it_is_given(pod: Pod, authority: Authority) -> None:
    upstream = Service(pod, 5, str(authority.directory / "server.pem"))
    text = f"{BASIC}PrivateMirror https://127.0.0.1:{UPSTREAM_PORT}\n"
    write_candidate(pod.candidate, files({FRESHCLAM: text}))
    container = pod.start("freshclam")
    wait_until(lambda: "could not be fetched" in container.output(), 30, "a refusal")
    assert upstream.requests() == []
    given = way_out(certificates=authority.certificate.read_text())
    write_candidate(pod.candidate, files({FRESHCLAM: text}), secret=given)
    wait_until(lambda: fetched(pod.databases), 30, "databases over TLS")
    trusted = (pod.directory / "freshclam/memory/ca.pem").read_text()
    assert trusted.count("BEGIN CERTIFICATE") > 100, "those of the image are trusted, too"


def test_the_shared_service_has_a_proxy_and_certificates_of_its_own(pod: Pod, authority: Authority) -> None:
    service = Service(pod, 5, str(authority.directory / "server.pem"))
    text = f"PrivateMirror https://127.0.0.1:{UPSTREAM_PORT}\n"
    service.configure(text)
    container = service.mirror()
    wait_until(lambda: "could not be fetched" in container.output(), 30, "a refusal")
    service.configure(text, **{"ca.crt": authority.certificate.read_text()})
    wait_until(lambda: len(service.versions()) == len(OFFICIAL), 40, "databases over TLS")
    broken = {"proxy.conf": f"HTTPProxyPasword {PASSWORD}\n"}
    service.configure(text, **broken)
    wait_until(lambda: "does not accept its configuration" in container.output(), 20, "the report")
    assert PASSWORD not in container.output()


def test_the_shared_service_goes_through_its_proxy(pod: Pod) -> None:
    service = Service(pod)
    proxy = start_proxy(pod)
    own = way_out(PROXY)["freshclam/proxy.conf"]
    service.configure(f"PrivateMirror http://127.0.0.1:{UPSTREAM_PORT}\n", **{"proxy.conf": own})
    service.mirror()
    wait_until(lambda: len(service.versions()) == len(OFFICIAL), 40, "databases through the proxy")
    assert f"CONNECT 127.0.0.1:{UPSTREAM_PORT} 200" in proxy.output()


def finding(pod: Pod) -> str:
    """What clamd says of the example's pattern."""
    return pod.run("clamd", "sh", "-c", "echo demo-virus-pattern | clamdscan --no-summary --stream -").stdout


def test_an_excluded_signature_finds_nothing_until_it_is_taken_out_again(pod: Pod) -> None:
    """Neither container is started anew."""
    serve_databases(pod)
    write_candidate(pod.candidate, files())
    freshclam, clamd = pod.start("freshclam"), pod.start("clamd")
    wait_ready(pod, "clamd")
    assert "Demo.Pattern.UNOFFICIAL FOUND" in finding(pod)
    before = freshclam.output()
    write_candidate(pod.candidate, files({"clamav/exclude.ign2": "Demo.Pattern\nOther.Name\n"}))
    wait_until(lambda: "OK" in finding(pod), 30, "the pattern is not found")
    assert pod.ready("clamd"), "the probe is"
    write_candidate(pod.candidate, files())
    wait_until(lambda: "Demo.Pattern.UNOFFICIAL FOUND" in finding(pod), 30, "the pattern is found again")
    assert clamd.output().count("daemon") <= 1
    assert clamd.running()
    assert freshclam.output() == before, "nothing was fetched for it"

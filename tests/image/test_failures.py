"""What fails, hangs or is busy does not take more with it than it must."""

import base64
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.image.conftest import files, place_database, wait_ready
from tests.image.messages import CLEAN, with_attachment
from tests.image.pod import PROGRAMS, Container, Pod, wait_until, write_candidate

FRESHCLAM = "clamav/freshclam.conf"
MIRROR = "DatabaseDirectory /var/lib/clamav\nChecks 12\nPrivateMirror http://127.0.0.1:8080\n"


def custom(name: str) -> str:
    """The line of freshclam.conf for a custom database of the test's web server."""
    return f"DatabaseCustomURL http://127.0.0.1:8080/{name}\n"


def serve(pod: Pod, answers: dict[str, tuple[int, str]]) -> Container:
    """A web server on the pod's network with a status and a body for each name; 404 for the others."""
    script = (
        "import http.server, json, sys\n"
        "answers = json.loads(sys.argv[1])\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        status, body = answers.get(self.path[1:], (404, ''))\n"
        "        self.send_response(status); self.end_headers(); self.wfile.write(body.encode())\n"
        "    do_HEAD = do_GET\n"
        "http.server.ThreadingHTTPServer(('127.0.0.1', 8080), Handler).serve_forever()\n"
    )
    return pod.start_outside("www", sys.executable, "-c", script, json.dumps(answers))


def pattern(name: str) -> str:
    """A database with one signature."""
    return f"{name}:0:*:{name.encode().hex()}\n"


def test_a_custom_url_that_refuses_holds_up_nothing(pod: Pod) -> None:
    # Databases that are there in some version: the mirror is asked for newer ones by the daemon.
    for name in ("main", "daily", "bytecode"):
        (pod.databases / f"{name}.cvd").write_text("an old one\n")
        os.chown(pod.databases / f"{name}.cvd", 11333, 11333)
    config = MIRROR + custom("refused.ndb") + custom("late.ndb") + custom("good.ndb")
    write_candidate(pod.candidate, files({FRESHCLAM: config}))
    answers = {"good.ndb": (200, pattern("Good")), "refused.ndb": (429, "slow down")}
    server = serve(pod, answers)
    container = pod.start("freshclam")
    wait_until((pod.databases / "good.ndb").exists, 15, "the good custom database")
    wait_until(lambda: "/daily.cvd" in server.output(), 15, "a request for an official database")
    wait_until(lambda: server.output().count("/late.ndb") >= 3, 20, "the late database asked for again")
    assert server.output().count("/refused.ndb") == 1
    assert server.output().count("/good.ndb") == 1
    assert container.stop() < 3


def test_a_public_url_that_refuses_is_not_hammered(pod: Pod) -> None:
    write_candidate(pod.candidate, files())
    server = serve(pod, {"demo.ndb": (429, "slow down")})
    container = pod.start("freshclam")
    wait_until(lambda: "/demo.ndb" in server.output(), 15, "the first request")
    time.sleep(12)
    assert server.output().count("/demo.ndb") == 1
    assert container.running()


def test_a_broken_custom_database_is_set_aside(pod: Pod) -> None:
    page = "<!DOCTYPE html><html><body>Please log in</body></html>\n"
    write_candidate(pod.candidate, files({FRESHCLAM: files()[FRESHCLAM] + custom("page.ndb")}))
    serve(pod, {"demo.ndb": (200, pattern("Demo")), "page.ndb": (200, page)})
    container = pod.start("freshclam")
    first = pod.start("clamd")
    wait_ready(pod, "clamd")
    wait_until(lambda: "page.ndb is not used: clamd cannot load it" in container.output(), 20, "the report")
    first.kill()
    pod.start("clamd")
    wait_ready(pod, "clamd", seconds=15)
    assert not (pod.databases / "page.ndb").exists()


def test_a_database_that_went_is_shown_again_without_a_download(pod: Pod) -> None:
    write_candidate(pod.candidate, files())
    server = serve(pod, {"demo.ndb": (200, pattern("Demo"))})
    pod.start("freshclam")
    wait_until((pod.databases / "demo.ndb").exists, 15, "the database")
    server.kill()
    (pod.databases / "demo.ndb").unlink()
    wait_until((pod.databases / "demo.ndb").exists, 15, "the database again")


def test_without_an_antivirus_rule_nothing_is_accepted(pod: Pod) -> None:
    chosen = {path: content for path, content in files().items() if not path.endswith("antivirus.conf")}
    write_candidate(pod.candidate, chosen)
    pod.start("rspamd")
    wait_ready(pod, "rspamd")
    assert pod.scan(CLEAN).reply.startswith("451 4.7.1 Virus scan failed")


def program(directory: Path, text: str) -> Path:
    """A shell script in the place of a program."""
    path = directory / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_hanging_configuration_test_ends_with_the_container(pod: Pod) -> None:
    write_candidate(pod.candidate, files())
    hanging = program(pod.directory, "echo begun; sleep 100")
    container = pod.start("rspamd", extra={hanging: "/usr/bin/rspamadm"})
    answer = pod.directory / "rspamd/memory/answer"
    wait_until(lambda: answer.exists() and "begun" in answer.read_text(), 15, "the test")
    assert container.stop() < 2


@pytest.mark.parametrize("text", ["sleep 100", "kill -KILL $$"], ids=["hanging", "killed"])
def test_a_configuration_test_without_a_verdict_is_repeated(pod: Pod, text: str) -> None:
    write_candidate(pod.candidate, files())
    impatient = pod.directory / "impatient"
    found = pod.run("rspamd", "cat", f"{PROGRAMS}/rspamd").stdout
    impatient.write_text(found.replace("timeout -s KILL 60 ", "timeout -s KILL 2 "))
    impatient.chmod(0o755)
    assert "timeout -s KILL 2 " in impatient.read_text()
    places = {program(pod.directory, text): "/usr/bin/rspamadm", impatient: f"{PROGRAMS}/rspamd"}
    first = pod.start("rspamd", extra=places)
    wait_until(lambda: "could not be tested" in first.output(), 15, "the report")
    assert "refused" not in first.output()
    assert first.running()


class Serving:
    """A pod with rspamd and clamd."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        write_candidate(pod.candidate, files())
        place_database(pod)
        self.rspamd, self.clamd = pod.start("rspamd"), pod.start("clamd")
        wait_ready(pod, "rspamd", "clamd")


@pytest.fixture
def serving(pod: Pod) -> Serving:
    """Provide a serving pod."""
    return Serving(pod)


def alive(pod: Pod) -> bool:
    """Whether clamd's liveness probe succeeds."""
    return pod.run("clamd", f"{PROGRAMS}/probe-clamd", "alive").returncode == 0


def test_clamd_is_alive_while_it_waits_and_while_it_serves_and_dead_when_it_hangs(pod: Pod) -> None:
    container = pod.start("clamd")
    assert alive(pod)
    write_candidate(pod.candidate, files())
    wait_until(lambda: "waiting for a signature database" in container.output(), 15, "clamd waits")
    assert alive(pod)
    place_database(pod)
    wait_ready(pod, "clamd")
    assert alive(pod)
    stop_and_go(container, lambda: not alive(pod))
    wait_ready(pod, "clamd")
    container.kill()
    assert not alive(pod)
    place_database(pod)
    pod.databases.joinpath("demo.ndb").unlink()
    restarted = pod.start("clamd")
    wait_until(lambda: restarted.output().count("waiting for a signature database") >= 2, 15, "clamd waits again")
    assert alive(pod)


def stop_and_go(container: Container, holds: Callable[[], bool]) -> None:
    """Asserts that holds() while the container's processes are stopped."""
    container.signal_all(signal.SIGSTOP)
    try:
        assert holds()
    finally:
        container.signal_all(signal.SIGCONT)


def drain(pod: Pod) -> float:
    """Seconds that clamd's preStop hook takes."""
    started = time.monotonic()
    assert pod.run("clamd", f"{PROGRAMS}/drain-clamd").returncode == 0
    return time.monotonic() - started


def test_clamd_outlives_rspamd_that_holds_a_mail(serving: Serving) -> None:
    pod = serving.pod
    with ThreadPoolExecutor() as threads:
        serving.clamd.signal_all(signal.SIGSTOP)
        mail = threads.submit(pod.scan, CLEAN)
        time.sleep(1)
        draining = threads.submit(drain, pod)
        ending = threads.submit(serving.rspamd.stop)
        time.sleep(4)
        assert not draining.done()
        assert not ending.done()
        serving.clamd.signal_all(signal.SIGCONT)
        assert mail.result().reply == "accept"
        assert draining.result() > 4
        # The hook may see the end of the program a moment before its parent does.
        assert ending.result() > 4
    assert pod.ready("clamd")
    assert serving.clamd.stop() < 3


def test_clamd_does_not_wait_for_an_rspamd_that_is_not_there(serving: Serving) -> None:
    serving.rspamd.kill()
    assert drain(serving.pod) < 1
    (serving.pod.sockets / "rspamd-runs").unlink()
    assert drain(serving.pod) < 1


def test_a_hanging_clamd_is_ended_while_rspamd_runs(serving: Serving) -> None:
    stop_and_go(serving.clamd, lambda: drain(serving.pod) < 20)
    assert serving.rspamd.running()


def test_rspamd_does_not_end_while_it_waits_for_the_hook(serving: Serving) -> None:
    with ThreadPoolExecutor() as threads:
        draining = threads.submit(drain, serving.pod)
        time.sleep(4)
        assert not draining.done()
        assert serving.pod.ready("rspamd")
        serving.rspamd.stop()
        assert draining.result() > 4


def slow_stream() -> bytes:
    """A stream that keeps clamd busy for a second or more: 90 MB of text, packed with gzip."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    text = base64.b64encode(os.urandom(15_000))
    return packer.compress(text * 4_500) + packer.flush()


def stream_to_clamd(path: Path, content: bytes) -> bytes:
    """Clamd's answer to a stream."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"zINSTREAM\0" + struct.pack("!I", len(content)) + content + bytes(4))
        return connection.recv(1000)


@pytest.mark.parametrize("threads", [10, 2])
def test_clamd_stays_ready_while_it_scans_twelve_large_streams(pod: Pod, threads: int) -> None:
    config = files()["clamav/clamd.conf"].replace("MaxThreads 10", f"MaxThreads {threads}")
    write_candidate(pod.candidate, files({"clamav/clamd.conf": config}))
    place_database(pod)
    clamd = pod.start("clamd")
    wait_ready(pod, "clamd")
    done = threading.Event()
    content = slow_stream()

    def scan() -> list[float]:
        times = []
        while not done.is_set():
            started = time.monotonic()
            # Found clean, or on a slow machine out of time.
            assert stream_to_clamd(pod.sockets / "clamd.sock", content).startswith(b"stream: ")
            times.append(time.monotonic() - started)
        return times

    with ThreadPoolExecutor(12) as executor:
        scans = [executor.submit(scan) for _ in range(12)]
        times = []
        try:
            for _ in range(6):
                started = time.monotonic()
                result = pod.run("clamd", f"{PROGRAMS}/probe-clamd")
                times.append(time.monotonic() - started)
                assert result.returncode == 0, (result.stdout, times)
                assert alive(pod)
        finally:
            done.set()
        print("probe:", times, "scans:", max(max(task.result()) for task in scans))
    stop_and_go(clamd, lambda: not pod.ready("clamd"))


def test_the_readiness_probe_is_not_in_the_log(serving: Serving) -> None:
    assert serving.pod.ready("clamd")
    assert "Readiness-Probe" not in serving.clamd.output()
    found = serving.pod.run("clamd", "sh", "-c", "echo demo-virus-pattern | clamdscan --no-summary --stream -")
    assert "FOUND" in found.stdout
    wait_until(lambda: "Demo.Pattern" in serving.clamd.output(), 5, "a real finding in the log")


def test_rspamd_stays_ready_while_it_reads_large_mails(serving: Serving) -> None:
    large = with_attachment("large.bin", os.urandom(29_000_000))
    with ThreadPoolExecutor() as threads:
        scans = [threads.submit(serving.pod.scan, large) for _ in range(4)]
        times = []
        while not all(task.done() for task in scans):
            started = time.monotonic()
            result = serving.pod.run("rspamd", f"{PROGRAMS}/probe-rspamd")
            times.append(time.monotonic() - started)
            assert result.returncode == 0, (result.stdout, times)
            time.sleep(0.5)
        print("probe:", times, [task.result().reply for task in scans])

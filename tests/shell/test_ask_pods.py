"""Asking pods over real HTTP, on loopback addresses that stand for pods."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typing_extensions import override

from mailfilter_operator import ask_pods, names
from mailfilter_operator.ask_pods import AskPods, make_asker
from mailfilter_operator.pod_reports import PodReport

HASH = "a" * 64
REPORT = json.dumps({"active": HASH}).encode()


class Pods:
    """Pods that answer by what the test says, all on one port; what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        pods = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                ip = self.connection.getsockname()[0]
                pods.asked.append((ip, self.path))
                status, body = pods.answers[ip]
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            @override
            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._handler = Handler
        self._servers: list[ThreadingHTTPServer] = []
        self.port = 0

    def start(self, ip: str, status: int = 200, body: bytes = REPORT) -> None:
        server = ThreadingHTTPServer((ip, self.port), self._handler)
        self.port = server.server_address[1]
        self.answers[ip] = (status, body)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._servers.append(server)

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


@pytest.fixture
def pods() -> Iterator[Pods]:
    made = Pods()
    yield made
    made.stop()


@pytest.fixture
def asking() -> Iterator[Callable[[int], AskPods]]:
    with ThreadPoolExecutor(4) as threads:
        yield lambda port: make_asker(threads, port)


def test_every_pod_is_asked_once_for_its_report(pods: Pods, asking: Callable[[int], AskPods]) -> None:
    pods.start("127.0.0.2")
    pods.start("127.0.0.3", body=json.dumps({"active": None}).encode())
    reports = asking(pods.port)(["127.0.0.2", "127.0.0.3", "127.0.0.2"])
    assert reports == {"127.0.0.2": PodReport(HASH), "127.0.0.3": PodReport(None)}
    assert sorted(pods.asked) == [("127.0.0.2", names.REPORT_PATH), ("127.0.0.3", names.REPORT_PATH)]


@pytest.mark.parametrize(
    ("status", "body"), [(503, REPORT), (302, REPORT), (200, b"not yet"), (200, b'{"active": "' + b"a" * 10**6)]
)
def test_a_pod_without_a_good_answer_has_no_report(
    pods: Pods, asking: Callable[[int], AskPods], status: int, body: bytes
) -> None:
    pods.start("127.0.0.2")
    pods.start("127.0.0.3", status, body)
    assert asking(pods.port)(["127.0.0.2", "127.0.0.3"]) == {"127.0.0.2": PodReport(HASH)}


def test_a_pod_where_nobody_listens_has_no_report(pods: Pods, asking: Callable[[int], AskPods]) -> None:
    pods.start("127.0.0.2")
    assert asking(pods.port)(["127.0.0.2", "127.0.0.4"]) == {"127.0.0.2": PodReport(HASH)}


def test_a_pod_that_accepts_and_says_nothing_has_no_report(asking: Callable[[int], AskPods]) -> None:
    with socket.create_server(("127.0.0.5", 0)) as silent:
        assert asking(silent.getsockname()[1])(["127.0.0.5"]) == {}


@pytest.fixture
def dripping() -> Iterator[int]:
    """Provide the port of a pod that sends a byte of a header line now and then, and never comes to an end."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.5", 0)) as server:

        def drip() -> None:
            while not ended.is_set():
                connection, _ = server.accept()
                threading.Thread(target=drip_into, args=[connection], daemon=True).start()

        def drip_into(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.0 200 OK\r\nX-Padding: ")
                while not ended.wait(0.05):
                    connection.sendall(b"x")

        threading.Thread(target=drip, daemon=True).start()
        yield server.getsockname()[1]
        ended.set()


def test_a_pod_that_never_comes_to_an_end_is_left_after_a_while(
    asking: Callable[[int], AskPods], dripping: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask_pods, "ANSWER_SECONDS", 0.3)
    begun = time.monotonic()

    assert asking(dripping)(["127.0.0.5"]) == {}
    assert time.monotonic() - begun < 2


def test_a_filter_does_not_wait_for_threads_that_another_filters_pods_hold(
    pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods.start("127.0.0.2")
    monkeypatch.setattr(ask_pods, "PATIENCE_SECONDS", 0.3)
    held = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        threads.submit(held.wait)
        try:
            assert make_asker(threads, pods.port)(["127.0.0.2"]) == {}
        finally:
            held.set()
    with ThreadPoolExecutor(1) as threads:
        assert make_asker(threads, pods.port)(["127.0.0.2"]) == {"127.0.0.2": PodReport(HASH)}
    assert len(pods.asked) == 1


def test_the_environments_proxies_are_not_asked(
    pods: Pods, asking: Callable[[int], AskPods], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    pods.start("127.0.0.2")
    assert asking(pods.port)(["127.0.0.2"]) == {"127.0.0.2": PodReport(HASH)}

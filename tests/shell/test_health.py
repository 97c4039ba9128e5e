"""What the kubelet is told: alive while passes move, ready when everything can be watched that must be."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Mapping

import pytest

from mailfilter_operator import health, names
from mailfilter_operator.build import OWNED_KINDS
from mailfilter_operator.errors import ClusterError
from mailfilter_operator.workqueue import Key, WorkQueue


def ask(checks: Mapping[str, health.Check], path: str, method: str = "GET") -> tuple[int, str]:
    """Return status and body of the answer of a server on the loopback."""

    def talk(port: int) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    async def serve_and_talk() -> tuple[int, str]:
        async with health.serve("127.0.0.1", 0, checks) as port:
            return await asyncio.to_thread(talk, port)

    return asyncio.run(serve_and_talk())


@pytest.mark.parametrize(
    ("path", "method", "answer"),
    [
        ("/good", "GET", (200, "ok\n")),
        ("/good?verbose", "GET", (200, "ok\n")),
        ("/good", "HEAD", (200, "")),
        ("/bad", "GET", (503, "nothing moves\n")),
        ("/", "GET", (404, "404: Not Found")),
        ("/good", "POST", (405, "405: Method Not Allowed")),
    ],
)
def test_check_is_answered_by_its_path(path: str, method: str, answer: tuple[int, str]) -> None:
    checks = {"/good": lambda: None, "/bad": lambda: "nothing moves"}

    assert ask(checks, path, method) == answer


@pytest.mark.parametrize(
    ("measure", "seconds", "complaint"),
    [
        ("overdue_seconds", health.LONGEST_WAIT_SECONDS - 1, None),
        ("overdue_seconds", health.LONGEST_WAIT_SECONDS + 1, "waited 61 s although a worker has nothing to do"),
        ("longest_pass_seconds", health.LONGEST_PASS_SECONDS - 1, None),
        ("longest_pass_seconds", health.LONGEST_PASS_SECONDS + 1, "a pass has been running for 1801 s"),
    ],
)
def test_not_alive_when_the_queue_is_broken_or_a_pass_hangs(
    measure: str, seconds: float, complaint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = WorkQueue(_never)
    assert health.find_standstill(queue) is None
    monkeypatch.setattr(WorkQueue, measure, seconds)
    found = health.find_standstill(queue)

    assert (found is None) if complaint is None else (found is not None and complaint in found)


def test_longest_batch_of_keys_is_no_reason_to_be_killed() -> None:
    """One hundred keys of 4096 bits for each of four workers, on one core that takes four seconds for each."""
    assert health.LONGEST_PASS_SECONDS > 4 * 100 * 4


class Refusing:
    """A cluster in which the kinds `refused` may not be watched."""

    refused: tuple[str, ...] = ()

    def check_watch(self, kind: str) -> None:
        if kind in self.refused:
            raise ClusterError("GET", kind, "", 403, "forbidden")


KINDS = (names.KIND, *OWNED_KINDS)


@pytest.mark.parametrize("kinds", [*((kind,) for kind in KINDS), KINDS[1:]], ids="+".join)
def test_not_ready_while_a_kind_cannot_be_watched(
    kinds: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(health, "RETRY_SECONDS", 0.01)

    async def test() -> None:
        cluster, readiness = Refusing(), health.Readiness()
        cluster.refused = kinds
        waiting = asyncio.create_task(readiness.wait_watchable(cluster))
        await asyncio.sleep(0.1)
        complaint = readiness.find_lack()
        assert complaint is not None
        assert f"GET {kinds[0]}" in complaint
        assert "403" in complaint
        cluster.refused = ()
        await asyncio.wait_for(waiting, 10)
        assert readiness.find_lack() is None

    asyncio.run(test())
    assert caplog.text.count("403") == 1, "said once, not at every attempt"


async def _never(_: Key) -> float | None:
    raise AssertionError

"""The end of the process: no write of it may land after the next one has begun to write."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.shell.memory_cluster import MemoryCluster
from typing_extensions import override

from mailfilter_operator import __main__ as program
from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.lease import FencedCluster, Lease
from mailfilter_operator.workqueue import Key, WorkQueue

OBJECTS = [{"kind": "ConfigMap", "metadata": {"namespace": "mail", "name": name}} for name in ("first", "second")]


class Slow(MemoryCluster):
    """A cluster in which an apply takes until `answer` is set; `asked` is set when one waits."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = threading.Event(), threading.Event()

    @override
    def apply(self, manifest: Manifest) -> Manifest:
        self.asked.set()
        assert self.answer.wait(10)
        return super().apply(manifest)

    @property
    def holder(self) -> str:
        """Who holds the Lease."""
        return str(self.objects["Lease", "mailfilter-system", names.LEASE]["spec"]["holderIdentity"])


async def end_in_a_pass(cluster: Slow, while_ending: Callable[[asyncio.Task[None]], Any]) -> Lease:
    """End a process with two keys in its queue and one pass that applies two objects, the first of them slowly."""
    lease = Lease(cluster, "mailfilter-system", "one")
    fenced = FencedCluster(cluster, lease.may_write)
    with ThreadPoolExecutor(1) as threads:

        async def look_at(_: Key) -> float | None:
            await asyncio.get_running_loop().run_in_executor(threads, lambda: [fenced.apply(item) for item in OBJECTS])
            return None

        queue = WorkQueue(look_at)
        queue.add(("mail", "a"))
        queue.add(("mail", "b"))
        workers = [asyncio.create_task(queue.run(lease.held))]
        renewing = asyncio.create_task(lease.run())
        assert await asyncio.to_thread(cluster.asked.wait, 10)
        ending = asyncio.create_task(program.end(queue, workers, lease, renewing))
        await while_ending(ending)
        await asyncio.wait_for(ending, 10)
        assert renewing.done()
        assert all(worker.done() for worker in workers)
        cluster.answer.set()
    return lease


def test_lease_is_given_back_after_the_write_that_is_under_way() -> None:
    cluster = Slow()

    async def answer_late(ending: asyncio.Task[None]) -> None:
        await asyncio.sleep(0.1)
        assert not ending.done()
        assert cluster.holder == "one"
        cluster.answer.set()

    lease = asyncio.run(end_in_a_pass(cluster, answer_late))
    assert [name for verb, name in cluster.writes if verb == "apply"] == ["ConfigMap/first"]
    assert cluster.writes[-1] == ("replace", f"Lease/{names.LEASE}")
    assert cluster.holder == ""
    assert not lease.may_write()


def test_lease_is_left_to_run_out_if_the_write_does_not_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(program, "PASS_END_SECONDS", 0.1)
    cluster = Slow()

    async def never(ending: asyncio.Task[None]) -> None:
        await asyncio.wait([ending], timeout=10)
        assert cluster.holder == "one"

    asyncio.run(end_in_a_pass(cluster, never))
    assert cluster.holder == "one"
    assert "not given back" in caplog.text


def test_process_ends_within_the_grace_period() -> None:
    """Of manifests/deployment.yaml; giving the Lease back and ending the watches take a few seconds."""
    assert program.PASS_END_SECONDS + 8 < 30

"""Who may write: one holder at a time, by each candidate's own clock."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from tests.shell import virtual_time
from tests.shell.memory_cluster import MemoryCluster
from typing_extensions import override

from mailfilter_operator import names
from mailfilter_operator.errors import ClusterError
from mailfilter_operator.lease import LEASE_SECONDS, RENEW_DEADLINE_SECONDS, RETRY_SECONDS, FencedCluster, Lease

NAMESPACE = "mailfilter-system"
Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    return lambda test: virtual_time.run(monkeypatch, test, "lease")


class Unreachable(MemoryCluster):
    """A cluster that does not answer while `down`."""

    down = False

    @override
    def get(self, kind: str, namespace: str, name: str) -> Any:
        if self.down:
            raise ClusterError("GET", kind, name, 0, "no route")
        return super().get(kind, namespace, name)


def spec_of(cluster: MemoryCluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.objects["Lease", NAMESPACE, names.LEASE]["spec"]
    return found


async def stop(task: asyncio.Task[None]) -> None:
    """End a candidate as SIGTERM does."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def start(cluster: MemoryCluster, identity: str) -> tuple[Lease, asyncio.Task[None]]:
    lease = Lease(cluster, NAMESPACE, identity)
    return lease, asyncio.create_task(lease.run())


def test_first_candidate_holds_the_lease_at_once(run: Run) -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        lease, task = start(cluster, "one")
        assert not lease.may_write()
        await asyncio.sleep(0.1)
        assert lease.held.is_set()
        assert lease.may_write()
        assert spec_of(cluster)["holderIdentity"] == "one"
        assert spec_of(cluster)["leaseDurationSeconds"] == LEASE_SECONDS
        assert spec_of(cluster)["leaseTransitions"] == 0
        await stop(task)

    run(test)


def test_holder_renews_and_the_second_candidate_waits(run: Run) -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        first, holding = start(cluster, "one")
        await asyncio.sleep(0.1)
        second, waiting = start(cluster, "two")
        for _ in range(100):
            await asyncio.sleep(1)
            assert first.may_write()
            assert not second.may_write()
            assert not second.held.is_set()
        await stop(waiting)
        assert spec_of(cluster)["holderIdentity"] == "one"
        await stop(holding)

    run(test)


def test_lease_of_a_dead_holder_is_taken_when_it_expires_by_the_candidates_clock(run: Run) -> None:
    """Whatever time the holder wrote: clocks of two nodes are never compared."""

    async def test() -> None:
        cluster = MemoryCluster()
        spec = {"holderIdentity": "dead", "leaseDurationSeconds": 30, "renewTime": "1999-01-01T00:00:00.000000Z"}
        metadata = {"name": names.LEASE, "namespace": NAMESPACE}
        cluster.put({"apiVersion": "x", "kind": "Lease", "metadata": metadata, "spec": {**spec, "leaseTransitions": 4}})
        lease, task = start(cluster, "two")
        await asyncio.sleep(29.9)
        assert not lease.held.is_set()
        await asyncio.sleep(0.1 + 2 * RETRY_SECONDS)
        assert lease.held.is_set()
        assert (spec_of(cluster)["holderIdentity"], spec_of(cluster)["leaseTransitions"]) == ("two", 5)
        await stop(task)

    run(test)


def test_released_lease_is_taken_at_the_next_try(run: Run) -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        first, holding = start(cluster, "one")
        await asyncio.sleep(0.1)
        second, waiting = start(cluster, "two")
        await asyncio.sleep(5)
        await stop(holding)
        assert not first.may_write()
        assert not first.held.is_set()
        assert spec_of(cluster)["holderIdentity"] == ""
        await asyncio.sleep(RETRY_SECONDS)
        assert second.held.is_set()
        await stop(waiting)

    run(test)


def test_candidate_that_ends_gives_nothing_back(run: Run) -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        _, holding = start(cluster, "one")
        await asyncio.sleep(0.1)
        _, waiting = start(cluster, "two")
        await asyncio.sleep(3)
        await stop(waiting)
        assert spec_of(cluster)["holderIdentity"] == "one"
        await stop(holding)

    run(test)


def test_process_that_was_started_again_under_its_name_goes_on(run: Run) -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        _, holding = start(cluster, "one")
        await asyncio.sleep(0.1)
        again, task = start(cluster, "one")
        await asyncio.sleep(0.1)
        assert again.held.is_set()
        assert spec_of(cluster)["leaseTransitions"] == 0
        await stop(task)
        await stop(holding)

    run(test)


def test_holder_that_cannot_renew_stops_writing_before_another_may_begin(run: Run) -> None:
    async def test() -> None:
        cluster = Unreachable()
        lease, task = start(cluster, "one")
        fenced = FencedCluster(cluster, lease.may_write)
        await asyncio.sleep(0.1)
        fenced.apply({"kind": "ConfigMap", "metadata": {"namespace": "mail", "name": "x"}})
        cluster.down = True
        await asyncio.sleep(RENEW_DEADLINE_SECONDS - RETRY_SECONDS - 0.2)
        assert lease.may_write()
        await asyncio.sleep(RETRY_SECONDS + 0.3)
        assert not lease.may_write()
        await asyncio.sleep(RETRY_SECONDS)
        assert not lease.held.is_set()
        assert RENEW_DEADLINE_SECONDS < LEASE_SECONDS
        cluster.down = False
        await asyncio.sleep(RETRY_SECONDS)
        assert lease.held.is_set()
        cluster.down = True
        await stop(task)

    run(test)


def test_holder_whose_lease_was_taken_stops_at_its_next_try(run: Run) -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        lease, task = start(cluster, "one")
        await asyncio.sleep(0.1)
        live = cluster.get("Lease", NAMESPACE, names.LEASE)
        assert live is not None
        cluster.put({**live, "spec": {**live["spec"], "holderIdentity": "two", "renewTime": "now"}})
        await asyncio.sleep(RETRY_SECONDS)
        assert not lease.held.is_set()
        assert not lease.may_write()
        await stop(task)
        assert spec_of(cluster)["holderIdentity"] == "two"

    run(test)


def test_race_for_a_free_lease_has_one_winner(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have read the same version; the second write is refused."""

    async def test() -> None:
        cluster = MemoryCluster()
        _, task = start(cluster, "zero")
        await asyncio.sleep(0.1)
        await stop(task)
        stale = cluster.get("Lease", NAMESPACE, names.LEASE)
        winner, winning = start(cluster, "one")
        await asyncio.sleep(0.1)
        monkeypatch.setattr(cluster, "get", lambda *_: stale)
        loser, losing = start(cluster, "two")
        await asyncio.sleep(0.1)
        assert winner.held.is_set()
        assert not loser.held.is_set()
        assert not loser.may_write()
        for task in (winning, losing):
            await stop(task)

    run(test)


class Slow(MemoryCluster):
    """A cluster that answers requests for the Lease only when it is told to; `asked` is set when one waits."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = threading.Event(), threading.Event()
        self.answer.set()

    @override
    def get(self, kind: str, namespace: str, name: str) -> Any:
        self.asked.set()
        assert self.answer.wait(10)
        return super().get(kind, namespace, name)


@pytest.mark.parametrize("before", ["no Lease", "another's Lease, given back", "its own Lease"])
def test_try_that_is_under_way_at_the_end_does_not_take_the_lease_back(
    before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With real threads: cancelling a task does not end the thread that it waits for."""
    monkeypatch.setattr("mailfilter_operator.lease.RETRY_SECONDS", 0.01)
    cluster = Slow()

    async def end_during_a_try() -> Lease:
        if before == "another's Lease, given back":
            other, task = start(cluster, "other")
            await asyncio.wait_for(other.held.wait(), 10)
            await stop(task)
        lease, task = start(cluster, "one")
        if before == "its own Lease":
            await asyncio.wait_for(lease.held.wait(), 10)
        cluster.asked.clear()
        cluster.answer.clear()
        assert await asyncio.to_thread(cluster.asked.wait, 10)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not lease.may_write()
        cluster.answer.set()
        await asyncio.wait([task], timeout=10)
        return lease

    lease = asyncio.run(end_during_a_try())  # returns when the threads have ended
    assert not lease.may_write()
    assert not lease.held.is_set()
    assert spec_of(cluster)["holderIdentity"] == ""


def test_lease_that_is_to_be_kept_is_held_without_writing_until_it_runs_out(run: Run) -> None:
    """For a process that ends while a request of it is under way."""

    async def test() -> None:
        cluster = MemoryCluster()
        first, holding = start(cluster, "one")
        await asyncio.sleep(0.1)
        second, waiting = start(cluster, "two")
        first.close()
        assert not first.may_write()
        await asyncio.sleep(100)
        assert not first.may_write()
        assert spec_of(cluster)["holderIdentity"] == "one"
        first.keep()
        await stop(holding)
        assert spec_of(cluster)["holderIdentity"] == "one"
        await asyncio.sleep(LEASE_SECONDS - RETRY_SECONDS - 1)
        assert not second.held.is_set()
        await asyncio.sleep(2 * RETRY_SECONDS + 1)
        assert second.held.is_set()
        await stop(waiting)

    run(test)


def test_closed_lease_is_given_back(run: Run) -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        lease, task = start(cluster, "one")
        await asyncio.sleep(0.1)
        lease.close()
        await stop(task)
        assert spec_of(cluster)["holderIdentity"] == ""

    run(test)


def test_closed_fence_refuses_every_write_and_no_read() -> None:
    cluster = MemoryCluster()
    live = cluster.put({"kind": "ConfigMap", "metadata": {"namespace": "mail", "name": "x"}})
    fenced = FencedCluster(cluster, lambda: False)
    writes: list[Callable[[], object]] = [
        lambda: fenced.create({"kind": "Event", "metadata": {"generateName": "x.", "namespace": "mail"}}),
        lambda: fenced.apply(live),
        lambda: fenced.apply_status({**live, "status": {}}),
        lambda: fenced.replace(live),
        lambda: fenced.patch(live, []),
        lambda: fenced.delete(live),
    ]

    for write in writes:
        with pytest.raises(ClusterError, match="this process does not hold the Lease"):
            write()
    assert cluster.writes == []
    assert fenced.get("ConfigMap", "mail", "x") == live
    assert fenced.list_objects("ConfigMap") == [live]


def test_open_fence_lets_every_write_pass() -> None:
    cluster = MemoryCluster()
    fenced = FencedCluster(cluster, lambda: True)
    made = {"kind": "ConfigMap", "metadata": {"namespace": "mail", "name": "x"}}
    live = fenced.create(made)
    live = fenced.apply({**made, "data": {"a": "b"}})
    live = fenced.apply_status({**live, "status": {}})
    live = fenced.replace({**live, "data": {}})
    live = fenced.patch(live, [{"op": "remove", "path": "/data"}])
    fenced.delete(live)

    assert [verb for verb, _ in cluster.writes] == ["create", "apply", "apply_status", "replace", "patch", "delete"]
    assert cluster.objects == {}

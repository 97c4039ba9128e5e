"""When a MailFilter is looked at: once however often it was added, never twice at a time, later after an error."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from tests.shell import virtual_time

from mailfilter_operator.errors import ClusterError
from mailfilter_operator.workqueue import Key, WorkQueue, backoff_seconds

A, B = ("mail", "a"), ("mail", "b")
Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


class Work:
    """Writes down when which key was looked at; a look takes `duration` seconds and answers from `answers`."""

    def __init__(self, duration: float = 0.0, answers: dict[Key, list[float | Exception | None]] | None = None) -> None:
        self.looks: list[tuple[float, str]] = []
        self.running: list[Key] = []
        self.duration = duration
        self.answers = answers or {}

    async def __call__(self, key: Key) -> float | None:
        assert key not in self.running, "one key is looked at twice at a time"
        self.running.append(key)
        self.looks.append((round(asyncio.get_running_loop().time(), 2), key[1]))
        await asyncio.sleep(self.duration)
        self.running.remove(key)
        answer = self.answers.get(key, [None]).pop(0) if self.answers.get(key) else None
        if isinstance(answer, Exception):
            raise answer
        return answer


async def work_for(seconds: float, queue: WorkQueue, workers: int = 1, gate: asyncio.Event | None = None) -> None:
    """Let workers work for so long."""
    if gate is None:
        gate = asyncio.Event()
        gate.set()
    tasks = [asyncio.create_task(queue.run(gate)) for _ in range(workers)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    return lambda test: virtual_time.run(monkeypatch, test, "workqueue")


def test_key_that_is_added_often_is_looked_at_once(run: Run) -> None:
    async def test() -> None:
        work = Work()
        queue = WorkQueue(work)
        for _ in range(5):
            queue.add(A)
            queue.add(B)
        await work_for(1, queue)
        assert work.looks == [(0.0, "a"), (0.0, "b")]

    run(test)


def test_key_is_looked_at_when_its_delay_is_over(run: Run) -> None:
    async def test() -> None:
        work = Work()
        queue = WorkQueue(work)
        queue.add(B, 7)
        queue.add(A, 5)
        await work_for(10, queue)
        assert work.looks == [(5.0, "a"), (7.0, "b")]

    run(test)


@pytest.mark.parametrize(("first", "second"), [(5.0, 9.0), (9.0, 5.0)])
def test_earlier_of_two_delays_counts(run: Run, first: float, second: float) -> None:
    async def test() -> None:
        work = Work()
        queue = WorkQueue(work)
        queue.add(A, first)
        queue.add(A, second)
        await work_for(20, queue)
        assert work.looks == [(5.0, "a")]

    run(test)


def test_key_that_is_added_during_its_pass_is_looked_at_once_more(run: Run) -> None:
    async def test() -> None:
        work = Work(duration=3)
        queue = WorkQueue(work)
        queue.add(A)

        async def add_later() -> None:
            for _ in range(3):
                await asyncio.sleep(0.5)
                queue.add(A)

        await asyncio.gather(work_for(10, queue, workers=4), add_later())
        assert work.looks == [(0.0, "a"), (3.0, "a")]

    run(test)


def test_key_whose_delay_ends_during_its_pass_is_looked_at_once_more(run: Run) -> None:
    async def test() -> None:
        work = Work(duration=3)
        queue = WorkQueue(work)
        queue.add(A)

        async def add_later() -> None:
            await asyncio.sleep(1)
            queue.add(A, 0.5)

        await asyncio.gather(work_for(10, queue, workers=4), add_later())
        assert work.looks == [(0.0, "a"), (3.0, "a")]

    run(test)


def test_workers_look_at_different_keys_side_by_side(run: Run) -> None:
    async def test() -> None:
        work = Work(duration=2)
        queue = WorkQueue(work)
        for number in range(4):
            queue.add(("mail", str(number)))
        await work_for(10, queue, workers=2)
        assert work.looks == [(0.0, "0"), (0.0, "1"), (2.0, "2"), (2.0, "3")]

    run(test)


def test_key_comes_back_when_its_pass_says(run: Run) -> None:
    async def test() -> None:
        work = Work(answers={A: [4.0, 6.0, None]})
        queue = WorkQueue(work)
        queue.add(A)
        await work_for(100, queue)
        assert work.looks == [(0.0, "a"), (4.0, "a"), (10.0, "a")]

    run(test)


def gaps(work: Work) -> list[float]:
    times = [time for time, _ in work.looks]
    return [later - earlier for earlier, later in itertools.pairwise(times)]


@pytest.mark.parametrize("error", [ClusterError("GET", "Secret", "x", 503, "busy"), KeyError("bug")])
def test_errors_are_backed_off_with_jitter_and_forgotten_after_a_good_pass(run: Run, error: Exception) -> None:
    async def test() -> None:
        work = Work(answers={A: [error, error, error, 50.0, error, None]})
        queue = WorkQueue(work)
        queue.add(A)
        await work_for(100, queue)
        for gap, seconds in zip(gaps(work), [0.5, 1, 2, 50, 0.5], strict=True):
            assert gap == seconds or 0.8 * seconds - 0.02 <= gap <= 1.2 * seconds + 0.02

    run(test)


def test_error_of_one_key_does_not_delay_another(run: Run) -> None:
    async def test() -> None:
        work = Work(answers={A: [KeyError("bug")] * 50})
        queue = WorkQueue(work)
        queue.add(A)
        queue.add(B, 3)
        await work_for(30, queue)
        assert (3.0, "b") in work.looks

    run(test)


def test_event_ends_the_wait_of_a_backed_off_key(run: Run) -> None:
    async def test() -> None:
        work = Work(answers={A: [KeyError("bug")] * 8})
        queue = WorkQueue(work)
        queue.add(A)
        await work_for(20, queue)
        before = len(work.looks)
        queue.add(A)
        await work_for(0.1, queue)
        assert len(work.looks) == before + 1

    run(test)


def test_backoff_is_bounded() -> None:
    assert [backoff_seconds(failures) for failures in (1, 2, 7, 8, 50)] == [0.5, 1, 32, 60, 60]


def test_nothing_is_looked_at_while_the_gate_is_closed_and_nothing_is_forgotten(run: Run) -> None:
    async def test() -> None:
        work, gate = Work(answers={A: [5.0, 5.0, 5.0, None]}), asyncio.Event()
        queue = WorkQueue(work)
        queue.add(A)

        async def open_and_close() -> None:
            for _ in range(2):
                await asyncio.sleep(10)
                gate.set()
                await asyncio.sleep(7)
                gate.clear()

        await asyncio.gather(work_for(60, queue, 2, gate), open_and_close())
        assert work.looks == [(10.0, "a"), (15.0, "a"), (27.0, "a"), (32.0, "a")]

    run(test)


def test_overdue_is_how_long_a_key_waits_while_a_worker_has_nothing_to_do(run: Run) -> None:
    """That cannot be unless the queue is broken: here it has no worker any more."""

    async def test() -> None:
        work = Work()
        queue = WorkQueue(work)
        queue.add(A)
        queue.add(B, 10)
        await work_for(1, queue)
        found = []
        for _ in range(4):
            await asyncio.sleep(5.001)
            found.append(round(queue.overdue_seconds))
        assert found == [0, 1, 6, 11]

    run(test)


def test_key_is_not_overdue_while_every_worker_is_in_a_pass(run: Run) -> None:
    async def test() -> None:
        work = Work(duration=1000)
        queue = WorkQueue(work)
        for name in "abc":
            queue.add(("mail", name))
        looking = asyncio.create_task(work_for(2500, queue, workers=2))
        for seconds in (100, 899, 102, 800):
            await asyncio.sleep(seconds)
            assert queue.overdue_seconds == 0
        await looking

    run(test)


def test_longest_pass_is_the_one_that_has_run_for_longest(run: Run) -> None:
    async def test() -> None:
        work = Work(duration=100)
        queue = WorkQueue(work)
        assert queue.longest_pass_seconds == 0
        queue.add(A)
        queue.add(B, 10)
        looking = asyncio.create_task(work_for(200, queue, workers=2))
        found = []
        for seconds in (5, 45, 55, 20):
            await asyncio.sleep(seconds)
            found.append(round(queue.longest_pass_seconds))
        assert found == [5, 50, 95, 0]
        await looking

    run(test)


@pytest.mark.parametrize("workers", [1, 4])
def test_key_is_not_overdue_while_another_process_has_the_lease(run: Run, workers: int) -> None:
    """Or a stand-by would be restarted for not doing what it must not do."""

    async def test() -> None:
        work, gate = Work(duration=30), asyncio.Event()
        queue = WorkQueue(work)
        for name in "abcde":
            queue.add(("mail", name))
        assert queue.overdue_seconds == 0
        looking = asyncio.create_task(work_for(2000, queue, workers, gate))
        await asyncio.sleep(1000)
        assert queue.overdue_seconds == 0
        gate.set()
        await asyncio.sleep(10)
        assert queue.overdue_seconds == 0
        assert work.looks
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking

    run(test)


def test_stopped_queue_ends_the_passes_that_run_and_begins_none(run: Run) -> None:
    async def test() -> None:
        work, gate = Work(duration=10), asyncio.Event()
        gate.set()
        queue = WorkQueue(work)
        for name in "abcd":
            queue.add(("mail", name))
        workers = [asyncio.create_task(queue.run(gate)) for _ in range(2)]
        await asyncio.sleep(4)
        queue.stop()
        await asyncio.sleep(5.9)
        assert not any(worker.done() for worker in workers)
        await asyncio.sleep(0.2)
        assert all(worker.done() for worker in workers)
        assert work.looks == [(0.0, "a"), (0.0, "b")]

    run(test)


@pytest.mark.parametrize("is_open", [True, False])
def test_stopped_queue_ends_at_once_when_no_pass_runs(run: Run, is_open: bool) -> None:
    async def test() -> None:
        gate = asyncio.Event()
        if is_open:
            gate.set()
        queue = WorkQueue(Work())
        queue.add(A, 100)
        workers = [asyncio.create_task(queue.run(gate)) for _ in range(3)]
        await asyncio.sleep(1)
        queue.stop()
        await asyncio.sleep(0.1)
        assert all(worker.done() for worker in workers)

    run(test)

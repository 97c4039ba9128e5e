"""Start the operator: settings, client, health, Lease, queue and workers, kopf's watches. End it in good order."""

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import kopf

from mailfilter_operator import handlers, health, names
from mailfilter_operator.ask_dns import AskDns
from mailfilter_operator.ask_pods import make_asker
from mailfilter_operator.cluster import connect
from mailfilter_operator.errors import MailFilterError
from mailfilter_operator.inquiries import Inquiries
from mailfilter_operator.lease import FencedCluster, Lease
from mailfilter_operator.probe_signing import ProbeSigning
from mailfilter_operator.reconcile import Operator, reconcile
from mailfilter_operator.settings import Settings, read_settings
from mailfilter_operator.workqueue import Key, WorkQueue

PASS_END_SECONDS = 20.0
"""A pass that runs at the end is waited for so long: as long as one request takes at most."""

ASKING_THREADS = 16
"""Pods that are asked at one time, of all MailFilters; each waits for an answer and takes no processor."""

INQUIRING_THREADS = 8
"""MailFilters whose name servers, and pods whose signatures, are asked for at one time."""

log = logging.getLogger(names.FIELD_MANAGER)


def now() -> str:
    """The time as Kubernetes writes it: RFC 3339, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def run(settings: Settings) -> None:
    """Run until SIGTERM; then the Lease is given back. Raises what ended it otherwise."""
    ending = asyncio.Event()
    _end_at_signals(ending)
    cluster = connect(pool_size=settings.workers + 1)
    lease = Lease(cluster, settings.namespace, settings.identity)
    key_threads = ThreadPoolExecutor(settings.key_workers, "keygen")
    passes = ThreadPoolExecutor(settings.workers, "pass")
    asking = ThreadPoolExecutor(ASKING_THREADS, "ask")
    inquiring = ThreadPoolExecutor(INQUIRING_THREADS, "inquire")
    loop = asyncio.get_running_loop()

    def wake(key: Key) -> None:
        loop.call_soon_threadsafe(queue.add, key)

    operator = Operator(
        cluster=FencedCluster(cluster, lease.may_write),
        ask_pods=make_asker(asking),
        now=now,
        now_ms=lambda: time.time_ns() // 1_000_000,
        key_threads=key_threads,
        ask_dns=AskDns(now),
        probe_signing=ProbeSigning(),
        inquiries=Inquiries(inquiring, wake),
        image=settings.image,
        signatures_url=settings.signatures_url,
        resync_seconds=settings.resync_seconds,
    )

    async def look_at(key: Key) -> float | None:
        return await asyncio.get_running_loop().run_in_executor(passes, reconcile, operator, *key)

    queue = WorkQueue(look_at)
    readiness = health.Readiness()
    checks: dict[str, health.Check] = {
        "/healthz": lambda: health.find_standstill(queue),
        "/readyz": readiness.find_lack,
    }
    async with health.serve("0.0.0.0", settings.health_port, checks):  # noqa: S104 - the kubelet is outside
        # kopf looks once only which kinds there are, and nobody shall hold the Lease who cannot watch.
        if await _before(ending, readiness.wait_watchable(cluster)):
            await _work(settings, queue, lease, ending)
    for threads in (passes, asking, inquiring):
        threads.shutdown(wait=False, cancel_futures=True)
    key_threads.shutdown(wait=False, cancel_futures=True)


async def _work(settings: Settings, queue: WorkQueue, lease: Lease, ending: asyncio.Event) -> None:
    workers = [asyncio.create_task(queue.run(lease.held)) for _ in range(settings.workers)]
    renewing = asyncio.create_task(lease.run())
    watching = asyncio.create_task(_watch(settings, queue, ending))
    stopped = asyncio.create_task(ending.wait())
    try:
        done, _ = await asyncio.wait([stopped, renewing, watching, *workers], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not task.cancelled():  # kopf, when it ends, cancels what others wait for
                task.result()
    finally:
        await end(queue, workers, lease, renewing)
        for task in (watching, stopped):
            task.cancel()
        await asyncio.gather(watching, stopped, return_exceptions=True)


async def end(
    queue: WorkQueue, workers: Sequence[asyncio.Task[None]], lease: Lease, renewing: asyncio.Task[None]
) -> None:
    """Let no write begin, wait for the one that is under way, give the Lease back.

    If a pass does not end in time the Lease is not given back: what it has sent may still arrive.
    """
    queue.stop()
    lease.close()
    _, running = await asyncio.wait(workers, timeout=PASS_END_SECONDS)
    if running:
        log.warning(
            "%d passes have not ended within %.0f s: the Lease is not given back", len(running), PASS_END_SECONDS
        )
        lease.keep()
    for task in (renewing, *running):
        task.cancel()
    await asyncio.gather(renewing, *running, return_exceptions=True)


async def _before(ending: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Tell whether *work* has ended before *ending* was set; else it is cancelled. Raises what *work* raises."""
    working, stopped = asyncio.create_task(work), asyncio.create_task(ending.wait())
    done, pending = await asyncio.wait([working, stopped], return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    if working in done:
        working.result()
    return not ending.is_set()


def _end_at_signals(ending: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)


async def _watch(settings: Settings, queue: WorkQueue, ending: asyncio.Event) -> None:
    registry = kopf.OperatorRegistry()
    handlers.register(registry, queue)
    kopf_settings = kopf.OperatorSettings()
    handlers.configure(kopf_settings, settings)
    ours = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(registry=registry, settings=kopf_settings, standalone=True, clusterwide=True)
    _end_at_signals(ending)  # in place of kopf's: the watches end last
    await kopf.run_tasks(tasks, ignored=ours)


def main() -> int:
    """Exit status: 0 after SIGTERM, 1 for a wrong setting."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    try:
        settings = read_settings()
    except MailFilterError as error:
        log.error("%s", error)
        return 1
    asyncio.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())

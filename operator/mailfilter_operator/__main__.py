"""Start the operator: settings, client, Lease, queue and workers, kopf's watches."""

import asyncio
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import kopf

from mailfilter_operator import handlers, names
from mailfilter_operator.cluster import connect
from mailfilter_operator.errors import MailFilterError
from mailfilter_operator.lease import FencedCluster, Lease
from mailfilter_operator.reconcile import Operator, reconcile
from mailfilter_operator.settings import Settings, read_settings
from mailfilter_operator.workqueue import Key, WorkQueue

log = logging.getLogger(names.FIELD_MANAGER)


def now() -> str:
    """The time as Kubernetes writes it: RFC 3339, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def run(settings: Settings) -> None:
    """Run until SIGTERM; then the Lease is given back. Raises what ended it otherwise."""
    cluster = connect(pool_size=settings.workers + 1)
    lease = Lease(cluster, settings.namespace, settings.identity)
    key_threads = ThreadPoolExecutor(settings.key_workers, "keygen")
    passes = ThreadPoolExecutor(settings.workers, "pass")
    operator = Operator(
        cluster=FencedCluster(cluster, lease.may_write),
        now=now,
        key_threads=key_threads,
        image=settings.image,
        resync_seconds=settings.resync_seconds,
    )

    async def look_at(key: Key) -> float | None:
        return await asyncio.get_running_loop().run_in_executor(passes, reconcile, operator, *key)

    queue = WorkQueue(look_at)
    tasks = [asyncio.create_task(queue.run(lease.held)) for _ in range(settings.workers)]
    tasks += [asyncio.create_task(lease.run()), asyncio.create_task(_watch(settings, queue))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if not task.cancelled():  # kopf, when it ends, cancels what others wait for
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        passes.shutdown(wait=False, cancel_futures=True)
        key_threads.shutdown(wait=False, cancel_futures=True)


async def _watch(settings: Settings, queue: WorkQueue) -> None:
    registry = kopf.OperatorRegistry()
    handlers.register(registry, queue)
    handlers.register_probe(registry, queue)
    kopf_settings = kopf.OperatorSettings()
    handlers.configure(kopf_settings, settings)
    await kopf.operator(
        registry=registry,
        settings=kopf_settings,
        standalone=True,
        clusterwide=True,
        liveness_endpoint=f"http://0.0.0.0:{settings.health_port}/healthz",
    )


def main() -> int:
    """Exit status: 0 after SIGTERM, 1 for a wrong setting."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("kopf", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = read_settings()
    except MailFilterError as error:
        log.error("%s", error)
        return 1
    asyncio.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())

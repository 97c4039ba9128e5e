"""What the kubelet asks: is the process alive (else it is killed), is it ready (else a rollout does not go on).

The server runs in the event loop, so that a loop that hangs does not answer. kopf's own has one path only.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Protocol

from aiohttp import web

from mailfilter_operator import names
from mailfilter_operator.build import OWNED_KINDS
from mailfilter_operator.errors import ClusterError
from mailfilter_operator.workqueue import WorkQueue

LONGEST_WAIT_SECONDS = 60.0
"""A worker with nothing to do takes what is due at once; after a minute the queue is broken."""

LONGEST_PASS_SECONDS = 1800.0
"""The longest pass makes 100 keys of 4096 bits. One takes 0.4 s on average on a core of 2025, a few seconds on a slow
one or a busy node; and three further passes may do the same at the same time. A pass that waits for ever blocks one of
four workers for as long."""

RETRY_SECONDS = 2.0

Check = Callable[[], str | None]
"""None if all is well, else a sentence that says what is not."""

log = logging.getLogger(__name__)


def find_standstill(queue: WorkQueue) -> str | None:
    """Say why the process is to be started anew; None while passes begin and end."""
    if queue.overdue_seconds > LONGEST_WAIT_SECONDS:
        return f"a MailFilter has waited {queue.overdue_seconds:.0f} s although a worker has nothing to do"
    if queue.longest_pass_seconds > LONGEST_PASS_SECONDS:
        return f"a pass has been running for {queue.longest_pass_seconds:.0f} s"
    return None


class Watchable(Protocol):
    """A cluster that can be asked whether a kind may be watched."""

    def check_watch(self, kind: str) -> None:
        """Raise ClusterError if objects of the kind cannot be listed and watched."""


class Readiness:
    """Ready once every kind that is to be watched could be listed and watched; with or without the Lease.

    A new version waits for the Lease until the old one has ended, and the old one ends when the new one is ready. How
    old a watch is later, kopf does not tell.
    """

    def __init__(self) -> None:
        self._lack: str | None = "nothing has been listed yet"

    def find_lack(self) -> str | None:
        """Say what is lacking; None when ready."""
        return self._lack

    async def wait_watchable(self, cluster: Watchable) -> None:
        """Return when every kind could be listed and watched: the CRD is there, and the rights are."""
        while True:
            try:
                await _check_all(cluster)
            except ClusterError as error:
                if self._lack != str(error):
                    log.warning("not ready: %s", error)
                self._lack = str(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._lack = None
                return


async def _check_all(cluster: Watchable) -> None:
    # One after the other: the pool of connections has one for each worker, and none for each kind.
    for kind in (names.KIND, "Pod", *OWNED_KINDS):
        await asyncio.to_thread(cluster.check_watch, kind)


@contextlib.asynccontextmanager
async def serve(host: str, port: int, checks: Mapping[str, Check]) -> AsyncIterator[int]:
    """Answer GET of the paths of *checks* with 200, or 503 and the sentence, as long as the block lasts; the port."""
    application = web.Application()
    for path, check in checks.items():
        application.router.add_get(path, _answer(check))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _answer(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        complaint = check()
        return web.Response(status=503 if complaint else 200, text=f"{complaint or 'ok'}\n")

    return answer

"""Who may write: the holder of one Lease, by the rules of client-go's leader election.

A candidate takes the Lease when its holder has not renewed it for the lease's duration, measured by the candidate's
own clock from the moment it saw the last change (clocks of two nodes are never compared). A holder that cannot renew
in time stops writing at once. On a graceful end the Lease is given back, so that the next one need not wait, but not
while a request of this process may still be under way.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.cluster import Cluster
from mailfilter_operator.errors import ClusterError

LEASE_SECONDS = 15
RENEW_DEADLINE_SECONDS = 10.0
RETRY_SECONDS = 2.0

log = logging.getLogger(__name__)


class Lease:
    """Tries to hold the Lease; `held` is set while it is, `may_write` is the fence for every write."""

    def __init__(self, cluster: Cluster, namespace: str, identity: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._identity = identity
        self._renewed = float("-inf")
        self._seen: tuple[str, str] | None = None
        self._seen_at = float("-inf")
        self._is_closed = self._is_kept = self._has_ended = False
        self._talking = threading.Lock()
        """One conversation about the Lease at a time: cancelling a task does not end the thread that it waits for."""
        self.held = asyncio.Event()

    def may_write(self) -> bool:
        """Tell whether the last renewal is recent enough; safe from any thread."""
        return self._is_fresh() and not self._is_closed

    def close(self) -> None:
        """Let no further write begin. The Lease is renewed until `run` is cancelled: a write may be under way."""
        self._is_closed = True

    def keep(self) -> None:
        """Do not give the Lease back at the end: it runs out by itself, later than the write that is under way."""
        self._is_kept = True

    async def run(self) -> None:
        """Try for ever; on cancellation give the Lease back. After that it is never taken again."""
        try:
            while True:
                await asyncio.to_thread(self._try)
                self._publish()
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._is_closed = self._has_ended = True
            self.held.clear()
            await asyncio.shield(asyncio.to_thread(self._release))

    def _publish(self) -> None:
        if self._is_fresh() and not self.held.is_set():
            log.info("%s holds the Lease %s", self._identity, names.LEASE)
            self.held.set()
        elif not self._is_fresh() and self.held.is_set():
            log.warning("%s lost the Lease %s and stops writing", self._identity, names.LEASE)
            self.held.clear()

    def _is_fresh(self) -> bool:
        return time.monotonic() < self._renewed + RENEW_DEADLINE_SECONDS

    def _try(self) -> None:
        with self._talking:
            if not self._has_ended:
                self._take_or_renew()

    def _take_or_renew(self) -> None:
        started = time.monotonic()
        try:
            lease = self._cluster.get("Lease", self._namespace, names.LEASE)
            if lease is None:
                self._cluster.create(self._build(None))
            elif self._may_take(lease):
                self._cluster.replace(self._build(lease))
            else:
                self._renewed = float("-inf")
                return
        except ClusterError as error:
            log.warning("Lease: %s", error)
            return
        self._renewed = started

    def _may_take(self, lease: Manifest) -> bool:
        spec = lease.get("spec") or {}
        seen = (spec.get("holderIdentity") or "", spec.get("renewTime") or "")
        if seen != self._seen:
            self._seen, self._seen_at = seen, time.monotonic()
        expired = time.monotonic() > self._seen_at + float(spec.get("leaseDurationSeconds") or LEASE_SECONDS)
        return seen[0] in ("", self._identity) or expired

    def _build(self, previous: Manifest | None) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = dict((previous or {}).get("spec") or {})
        if spec.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + (1 if previous else 0)
        spec |= {"holderIdentity": self._identity, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now}
        metadata = (previous or {}).get("metadata") or {"name": names.LEASE, "namespace": self._namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    def _release(self) -> None:
        with self._talking:
            was_held, self._renewed = self._is_fresh(), float("-inf")
            if was_held and not self._is_kept:
                self._give_back()

    def _give_back(self) -> None:
        try:
            lease = self._cluster.get("Lease", self._namespace, names.LEASE)
            if lease and (lease.get("spec") or {}).get("holderIdentity") == self._identity:
                free = {**lease, "spec": {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}}
                self._cluster.replace(free)
        except ClusterError as error:
            log.warning("Lease: not given back: %s", error)


class FencedCluster:
    """A Cluster that writes only while *may_write* says so."""

    def __init__(self, cluster: Cluster, may_write: Callable[[], bool]) -> None:
        self._cluster = cluster
        self._may_write = may_write
        self.get = cluster.get
        self.list_objects = cluster.list_objects

    def create(self, manifest: Manifest) -> Manifest:
        return self._fenced(manifest, "create").create(manifest)

    def apply(self, manifest: Manifest) -> Manifest:
        return self._fenced(manifest, "apply").apply(manifest)

    def apply_status(self, manifest: Manifest) -> Manifest:
        return self._fenced(manifest, "apply status of").apply_status(manifest)

    def replace(self, manifest: Manifest) -> Manifest:
        return self._fenced(manifest, "replace").replace(manifest)

    def patch(self, live: Manifest, operations: list[dict[str, Any]]) -> Manifest:
        return self._fenced(live, "patch").patch(live, operations)

    def annotate(self, live: Manifest, annotations: Mapping[str, str | None]) -> Manifest:
        return self._fenced(live, "annotate").annotate(live, annotations)

    def delete(self, live: Manifest) -> None:
        self._fenced(live, "delete").delete(live)

    def _fenced(self, manifest: Manifest, verb: str) -> Cluster:
        if not self._may_write():
            name = str(manifest["metadata"].get("name", ""))
            raise ClusterError(verb, manifest["kind"], name, 0, "this process does not hold the Lease, or ends")
        return self._cluster

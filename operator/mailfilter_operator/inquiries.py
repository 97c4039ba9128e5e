"""Questions whose answers take long (DNS, probe mails), asked on threads of their own while passes go on.

What was answered is kept in memory, by MailFilter; an answer wakes its MailFilter. A restart forgets it all.
"""

import logging
import threading
from collections.abc import Callable, Collection, Hashable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from mailfilter_operator.dkim.record_schedule import Seen
from mailfilter_operator.pod_probes import PodProbe

Key = tuple[str, str]
"""Namespace and name."""

log = logging.getLogger(__name__)


@dataclass
class Memory:
    """What is known of one MailFilter, which has `uid`."""

    uid: str
    records: dict[str, Seen] = field(default_factory=dict)
    """By the name of the record."""
    probes: dict[str, PodProbe] = field(default_factory=dict)
    """By the UID of the pod."""


Keep = Callable[[Memory], None]
"""How an answer is kept."""


class Inquiries:
    """At most one question of each topic at a time for each MailFilter."""

    def __init__(self, threads: Executor, wake: Callable[[Key], None]) -> None:
        self._threads = threads
        self._wake = wake
        self._lock = threading.Lock()
        self._memories: dict[Key, Memory] = {}
        self._asking: set[tuple[Key, Hashable]] = set()

    def recall(self, key: Key, uid: str) -> Memory:
        """What is known of the MailFilter; nothing if it was made anew."""
        with self._lock:
            found = self._memories.get(key)
            if found is None or found.uid != uid:
                found = self._memories[key] = Memory(uid)
            return Memory(uid, dict(found.records), dict(found.probes))

    def keep_only(self, key: Key, uid: str, records: Collection[str], pods: Collection[str]) -> None:
        """Forget what is known of other *records* (names) and *pods* (UIDs): nobody will ask for it."""
        with self._lock:
            memory = self._memories.get(key)
            if memory is not None and memory.uid == uid:
                memory.records = {name: seen for name, seen in memory.records.items() if name in records}
                memory.probes = {pod: probe for pod, probe in memory.probes.items() if pod in pods}

    def forget(self, key: Key) -> None:
        """The MailFilter is gone."""
        with self._lock:
            self._memories.pop(key, None)

    def ask(self, key: Key, uid: str, topic: Hashable, question: Callable[[], Keep], keep_failure: Keep) -> None:
        """Ask *question* soon, unless one of this topic is being asked; it returns how the answer is kept.

        *keep_failure* is kept if it raises; without that the MailFilter would ask again as soon as it wakes.
        """
        with self._lock:
            if (key, topic) in self._asking:
                return
            self._asking.add((key, topic))
        self._threads.submit(self._answer, key, uid, topic, question, keep_failure)

    def _answer(self, key: Key, uid: str, topic: Hashable, question: Callable[[], Keep], keep_failure: Keep) -> None:
        try:
            keep = question()
        except Exception:  # a thread has nobody above it; it is asked again later
            log.exception("%s/%s: asking for %s failed", *key, topic)
            keep = keep_failure
        with self._lock:
            self._asking.discard((key, topic))
            memory = self._memories.get(key)
            if memory is not None and memory.uid == uid:
                keep(memory)
        self._wake(key)

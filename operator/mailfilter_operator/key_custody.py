"""The keys of one MailFilter in the cluster: read, restored, made, moved on from state to state, deleted.

A key is stored before anything refers to it, by create: what has its name already is kept. A change of state is a patch
that the API server refuses if somebody else was quicker.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any

from mailfilter_operator import events, names
from mailfilter_operator.api import MailFilter, Manifest
from mailfilter_operator.cluster import Cluster
from mailfilter_operator.dkim.key_secrets import build_key_repairs, build_key_secret, parse_key_secret
from mailfilter_operator.dkim.keyring import find_places, parse_keyring
from mailfilter_operator.dkim.keys import DkimKey
from mailfilter_operator.dkim.lines import SLOTS, Rules, Wish
from mailfilter_operator.dkim.slots import KeyPlan, KeyRequest, plan_keys
from mailfilter_operator.dkim.states import Place, Sighting, confirm_left
from mailfilter_operator.errors import ClusterError
from mailfilter_operator.keygen import make_keys
from mailfilter_operator.observed import Observed
from mailfilter_operator.ownership import build_owner_reference

_EXISTS = 409
"""HTTP status."""


@dataclass
class KeyCustody:
    """`written` and `news` are what was done so far, also if it could not be finished."""

    cluster: Cluster
    key_threads: Executor
    now: Callable[[], str]
    """RFC 3339."""
    mailfilter: MailFilter
    observed: Observed
    written: list[str] = field(default_factory=list)
    news: list[events.Event] = field(default_factory=list)
    _secrets: dict[str, Manifest] = field(default_factory=dict)
    """As they are live, by name."""

    def read_keys(self, wishes: Iterable[Wish]) -> tuple[DkimKey, ...]:
        """Keys of the Secrets that the keyring knows of, and of all slots where it knows none.

        No list of Secrets is ever asked for. One that is gone is restored if the keyring has the key. Raises
        ClusterError, and Conflict for a Secret that holds no key of ours.
        """
        in_keyring = {(key.domain, key.slot): key for key in parse_keyring(self.observed.keyring)}
        places = set(find_places(self.observed.keyring))
        for wish in wishes:
            line = {(wish.domain, slot) for slot in SLOTS[wish.algorithm]}
            places |= line if places.isdisjoint(line) else set()
        keys = (self._read(domain, slot, in_keyring.get((domain, slot))) for domain, slot in sorted(places))
        return tuple(key for key in keys if key is not None)

    def complete(
        self,
        wishes: tuple[Wish, ...],
        keys: tuple[DkimKey, ...],
        sightings: Mapping[Place, Sighting],
        rules: Rules,
    ) -> KeyPlan:
        """Let happen to *keys* what is due, and make what is missing. Raises ClusterError."""

        def plan(existing: tuple[DkimKey, ...], seen: Mapping[Place, Sighting]) -> KeyPlan:
            found = plan_keys(wishes, existing, seen, rules, self.now(), self.mailfilter.metadata.name)
            for key in found.in_storing_order:
                self._store(key)
            for key in found.deletions:
                self._delete(key)
            return found

        first = plan(keys, sightings)
        made = tuple(self._make(first.requests))
        # In the place of a key whose record was seen there may be a new one, whose record was not.
        new = {(key.domain, key.slot) for key in made}
        of_old = {place: sighting for place, sighting in sightings.items() if place not in new}
        return plan((*first.keys, *made), of_old) if made else first

    def confirm_left(self, plan: KeyPlan) -> KeyPlan:
        """Note of keys that sign no more that every pod has stopped to sign with them. Raises ClusterError."""
        keys = tuple(confirm_left(key, self.now()) for key in plan.keys)
        for key in keys:
            self._store(key)
        return replace(plan, keys=keys)

    def _read(self, domain: str, slot: str, in_keyring: DkimKey | None) -> DkimKey | None:
        meta = self.mailfilter.metadata
        name = names.dkim_secret(meta.name, domain, slot)
        secret = self.cluster.get("Secret", meta.namespace, name)
        if secret is not None:
            self._secrets[name] = secret
            return parse_key_secret(meta.name, slot, secret, in_keyring)
        if in_keyring is not None:
            self._create(in_keyring, events.key_restored(in_keyring))
        return in_keyring

    def _make(self, requests: tuple[KeyRequest, ...]) -> Iterable[DkimKey]:
        for key in make_keys(requests, self.key_threads, self.now):
            try:
                self._create(key, self._describe_new(key))
                yield key
            except ClusterError as error:
                if error.status != _EXISTS:
                    raise
                # Made by a pass that ended before the keyring knew of it, or by another operator.
                found = self._read(key.domain, key.slot, None)
                if found is None:
                    raise
                yield found

    def _create(self, key: DkimKey, news: events.Event) -> None:
        secret = self._build(key)
        self._secrets[secret["metadata"]["name"]] = self.cluster.create(secret)
        self.written.append(f"Secret/{secret['metadata']['name']}")
        self.news.append(news)

    def _store(self, key: DkimKey) -> None:
        """Put state, labels and owner on the Secret; its data nobody can change."""
        desired = self._build(key)
        name = desired["metadata"]["name"]
        live = self._secrets[name]
        repairs = build_key_repairs(desired, live)
        if repairs:
            before = (live["metadata"].get("annotations") or {}).get(names.ANNOTATION_STATE)
            self._secrets[name] = self.cluster.patch(live, repairs)
            self.written.append(f"Secret/{name}")
            if before != key.state:
                self.news += events.key_changed(key)

    def _delete(self, key: DkimKey) -> None:
        name = names.dkim_secret(self.mailfilter.metadata.name, key.domain, key.slot)
        self.cluster.delete(self._secrets.pop(name))
        self.written.append(f"Secret/{name}")
        self.news.append(events.key_deleted(key))

    def _build(self, key: DkimKey) -> dict[str, Any]:
        meta = self.mailfilter.metadata
        delete = self.mailfilter.spec.dkim.retention == "Delete"
        return build_key_secret(meta.name, meta.namespace, key, build_owner_reference(meta) if delete else None)

    def _describe_new(self, key: DkimKey) -> events.Event:
        domains = (self.observed.mailfilter.get("status") or {}).get("domains") or ()
        old = [
            entry
            for domain in domains
            if domain["name"] == key.domain
            for entry in domain.get("keys") or ()
            if entry["algorithm"] == key.algorithm and entry["state"] == "Active"
        ]
        known = {names.dkim_secret(self.mailfilter.metadata.name, key.domain, slot) for slot in SLOTS[key.algorithm]}
        lost = [entry for entry in old if entry["secretName"] not in self._secrets and entry["secretName"] in known]
        return events.key_replaced(key, lost[0]["selector"]) if lost else events.key_created(key)

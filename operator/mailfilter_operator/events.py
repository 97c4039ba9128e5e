"""Catalogue of the Events that people see: type, reason, sentence. Each is posted on a transition, never per pass."""

from dataclasses import dataclass
from typing import Any

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.cluster import Cluster
from mailfilter_operator.dkim.keys import ACTIVE, RETIRED, DkimKey
from mailfilter_operator.errors import MailFilterError


@dataclass(frozen=True, slots=True)
class Event:
    """One Event of a MailFilter; `type` is Normal or Warning."""

    type: str
    reason: str
    message: str


def key_created(key: DkimKey) -> Event:
    """A key was made."""
    when = "it signs" if key.state == ACTIVE else "it signs once that is seen"
    return Event(
        "Normal",
        "KeyCreated",
        f"{key.domain} has the new key {key.selector}: publish its record (status.dnsRecords); {when}.",
    )


def key_activated(key: DkimKey) -> Event:
    """A key takes over: its record was seen, or activation is AtOnce."""
    return Event("Normal", "KeyActivated", f"{key.domain} signs with the key {key.selector} now.")


def key_retired(key: DkimKey) -> Event:
    """The record of a key may go."""
    return Event(
        "Normal",
        "KeyRetired",
        f"The record of the key {key.selector} of {key.domain} is needed no more: take it out of DNS.",
    )


def key_revoked(key: DkimKey) -> Event:
    """A key that somebody else may have read signs no more."""
    return Event(
        "Warning",
        "KeyRevoked",
        f"The key {key.selector} of {key.domain} is revoked: take its record out of DNS at once.",
    )


def key_changed(key: DkimKey) -> list[Event]:
    """What is said of a key that came into its state; nothing where there is nothing to do."""
    if key.state == RETIRED:
        return [key_revoked(key) if key.revoked else key_retired(key)]
    return [key_activated(key)] if key.state == ACTIVE else []


def key_deleted(key: DkimKey) -> Event:
    """A retired key is gone."""
    return Event("Normal", "KeyDeleted", f"The retired key {key.selector} of {key.domain} was deleted.")


def key_replaced(key: DkimKey, old_selector: str) -> Event:
    """A key and its copy in the keyring are gone."""
    return Event(
        "Warning",
        "KeyLost",
        f"The key {old_selector} of {key.domain} is gone from its Secret and the keyring. In its place there is "
        f"{key.selector}: publish its record (status.dnsRecords) at once, or restore the Secret from a backup with "
        "kubectl replace --force.",
    )


def key_restored(key: DkimKey) -> Event:
    """Somebody deleted a key Secret; the keyring had the key."""
    return Event(
        "Warning",
        "KeyRestored",
        f"The Secret of the key {key.selector} of {key.domain} was restored from the keyring.",
    )


def stalled(error: MailFilterError) -> Event:
    """The pass ended with an error that a person must mend."""
    return Event("Warning", error.reason, error.message)


def config_refused(error: str) -> Event:
    """A pod tested the configuration of the spec, and it is bad."""
    return Event("Warning", "ConfigRefused", f"rspamd refused the configuration: {error}")


def signatures_changed(now: tuple[str, str], before: tuple[str, str], message: str) -> list[Event]:
    """What is said when `SignaturesFresh`, by status and reason, became False, is so for another reason, or is True.

    True may still mean that nothing newer can be fetched.
    """
    if now != before and now[0] == "False":
        return [Event("Warning", "SignaturesStale", message)]
    if now != before and now[1] in {"CoolDown", "CheckFailing"}:
        return [Event("Warning", "SignatureCheckFailing", message)]
    if now[0] == "True" and before[0] == "False":
        return [Event("Normal", "SignaturesFresh", "All ready pods have fresh signatures again.")]
    return []


def ready() -> Event:
    """The filter became ready for the first time, or again."""
    return Event("Normal", "Ready", "The filter scans mail with the current configuration.")


def post(cluster: Cluster, mailfilter: Manifest, event: Event, now: str) -> None:
    """Create *event* on *mailfilter*. Raises ClusterError."""
    meta = mailfilter["metadata"]
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{meta['name']}.", "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:1024],
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "source": {"component": names.FIELD_MANAGER},
        "reportingComponent": names.FIELD_MANAGER,
    }
    cluster.create(body)

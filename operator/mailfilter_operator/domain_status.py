"""What status says of domains, keys and DNS records, and the conditions `DNSPublished` and `Signing`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mailfilter_operator import names
from mailfilter_operator.api import Domain, Spec
from mailfilter_operator.conditions import FALSE, TRUE, UNKNOWN, Condition
from mailfilter_operator.dkim.keys import ACTIVE, PENDING, RETIRED, RETIRING, DkimKey
from mailfilter_operator.dkim.lines import Wish
from mailfilter_operator.dkim.published import PUBLISHED, Publication
from mailfilter_operator.dkim.published import UNKNOWN as NOT_KNOWN
from mailfilter_operator.dkim.record_schedule import UNKNOWN as UNASKED
from mailfilter_operator.dkim.record_schedule import Watched
from mailfilter_operator.dkim.records import DnsRecord, build_dkim_record
from mailfilter_operator.dkim.suggestions import build_dmarc_record, build_spf_record
from mailfilter_operator.signing import SigningVerdict
from mailfilter_operator.times import add_seconds

_LONGEST_OBSERVED = 1024
"""Characters as the CRD counts them, and bytes."""
_ALL_OBSERVED = 100 << 10
"""Bytes of all records together: one wildcard can answer to the 600 of 100 domains; etcd takes no more than 1.5 MiB."""


@dataclass(frozen=True, slots=True)
class RecordReport:
    """A record to publish, the state of the key it is for (empty: a suggestion), and what DNS says of it."""

    record: DnsRecord
    key_state: str
    publication: Publication
    asked: bool = False
    """DNS has been asked since the operator started; else the publication is what status had."""

    @property
    def state(self) -> str:
        """As status has it."""
        return RETIRING if self.key_state == RETIRING else self.publication.state


@dataclass(frozen=True, slots=True)
class DomainReport:
    """Keys, records and signatures of all domains, as a pass found them."""

    keys: tuple[DkimKey, ...] = ()
    records: tuple[RecordReport, ...] = ()
    wishes: tuple[Wish, ...] = ()
    waiting: tuple[str, ...] = ()
    """Why a line of keys cannot go on."""
    signing: SigningVerdict | None = None


KeyRecord = tuple[DkimKey | None, DnsRecord]
"""A record with the key that it is for; None: a suggestion."""


def build_records(keys: Iterable[DkimKey], spec: Spec) -> tuple[KeyRecord, ...]:
    """The records of all keys that are not retired, and those that the spec has suggested for its domains."""
    ttl = spec.dns.ttl_seconds
    return (
        *((key, build_dkim_record(key, ttl)) for key in keys if key.state != RETIRED),
        *((None, record) for record in _suggest(spec.domains, ttl)),
    )


def _suggest(domains: Iterable[Domain], ttl: int) -> Iterator[DnsRecord]:
    for domain in domains:
        if domain.spf:
            yield build_spf_record(domain.name, domain.spf.mechanisms, domain.spf.all, ttl)
        if domain.dmarc:
            yield build_dmarc_record(domain.name, domain.dmarc.policy, domain.dmarc.aggregate_reports, ttl)


Recalled = Mapping[tuple[str, str], Publication]
"""By name and value of a record."""


def build_watched(records: Iterable[KeyRecord], recalled: Recalled) -> tuple[Watched, ...]:
    """What is asked for in DNS; *recalled* is what was known before, which a restart does not lose."""
    return tuple(
        Watched(
            record,
            # One whose key waits has to be seen again, whatever is known of it.
            NOT_KNOWN if key and key.state == PENDING else recall_publication(record, UNASKED, recalled).state,
            key.seen_again if key else "",
        )
        for key, record in records
    )


def recall_publication(record: DnsRecord, publication: Publication, recalled: Recalled) -> Publication:
    """What is known of a record: what was asked for, else what status had of the same record."""
    return recalled.get((record.name, record.value), publication) if publication is UNASKED else publication


def read_recalled(status: Mapping[str, Any]) -> Recalled:
    """What *status* says of its records. `Retiring` were published if its summary counted them all; else: unknown."""
    records = status.get("dnsRecords") or ()
    states = [entry["state"] for entry in records if entry["purpose"] == "DKIM"]
    counted = re.match("([0-9]+)/", status.get("dnsSummary", ""))
    most = states.count(PUBLISHED) + states.count(RETIRING)
    of_retiring = PUBLISHED if counted and int(counted[1]) == most else NOT_KNOWN
    return {
        (entry["name"], entry["value"]): Publication(
            of_retiring if entry["state"] == RETIRING else entry["state"], entry.get("observed"), (), 0
        )
        for entry in records
    }


def is_recalled(report: DomainReport, status: Mapping[str, Any]) -> bool:
    """Tell whether nothing was asked of the DKIM records of *status*, so that what that says of them still holds."""
    asked = any(entry.asked for entry in report.records if entry.record.purpose == "DKIM")
    return not asked and describe_records(report) == status.get("dnsRecords")


def describe_domains(report: DomainReport, instance: str) -> list[dict[str, Any]]:
    """`status.domains`: the domains of the spec in its order, then removed ones whose keys are still there."""
    of_spec = dict.fromkeys(wish.domain for wish in report.wishes)
    order = {**of_spec, **dict.fromkeys(key.domain for key in report.keys)}
    intervals = {(wish.domain, wish.algorithm): wish.interval for wish in report.wishes}
    described = []
    for domain in order:
        keys = [key for key in report.keys if key.domain == domain]
        times = [
            add_seconds(key.signing_since, interval)
            for key in keys
            if key.state == ACTIVE and (interval := intervals.get((domain, key.algorithm))) is not None
        ]
        rotation = {"nextRotation": min(times)} if times else {}
        described.append({"name": domain, "keys": [_describe_key(key, instance) for key in keys], **rotation})
    return described


def describe_records(report: DomainReport) -> list[dict[str, Any]]:
    """`status.dnsRecords`."""
    observed = sum(entry.publication.observed is not None for entry in report.records)
    longest = min(_LONGEST_OBSERVED, _ALL_OBSERVED // max(observed, 1))
    return [
        {
            "domain": entry.record.domain,
            "purpose": entry.record.purpose,
            "type": entry.record.type,
            "name": entry.record.name,
            "value": entry.record.value,
            "zoneLine": entry.record.zone_line,
            "state": entry.state,
            **({"observed": _cut(entry.publication.observed, longest)} if entry.publication.observed else {}),
        }
        for entry in report.records
    ]


def _cut(text: str, most: int) -> str:
    """The beginning of *text* in at most so many bytes, with an ellipsis if that is not all of it."""
    content = text.encode()
    if len(content) <= most:
        return text
    return content[: most - len("…".encode())].decode(errors="ignore") + "…"


def summarise_records(report: DomainReport) -> str:
    """`status.dnsSummary`: how many of the DKIM records are published, such as `2/3 published`."""
    states = [entry.publication.state for entry in report.records if entry.record.purpose == "DKIM"]
    return f"{states.count('Published')}/{len(states)} published" if states else "none"


def compute_dns_published(report: DomainReport) -> Condition:
    """True if the records of all keys that sign, will sign or have signed lately are published."""
    dkim = [entry for entry in report.records if entry.record.purpose == "DKIM"]
    if not dkim:
        return Condition(TRUE, "NothingToPublish", "No DKIM record is to be published.")
    bad = [entry for entry in dkim if entry.publication.state not in ("Published", "Unknown")]
    silent = sorted({server for entry in dkim for server in entry.publication.silent})
    note = f" No answer came from {', '.join(silent[:5])}." if silent else ""
    if bad:
        first = bad[0]
        what = {"Missing": "is not published", "Different": "has another text", "Duplicate": "is there several times"}
        more = f" So it is with {len(bad) - 1} more." if len(bad) > 1 else ""
        return Condition(
            FALSE,
            first.publication.state,
            f"The record {first.record.name} {what[first.publication.state]}; publish it as in status.dnsRecords."
            f"{more}{note}",
        )
    unknown = [entry for entry in dkim if entry.publication.state == "Unknown"]
    if unknown:
        why = f": {unknown[0].publication.reason}" if unknown[0].publication.reason else ""
        more = f" So it is with {len(unknown) - 1} more." if len(unknown) > 1 else ""
        return Condition(
            UNKNOWN,
            "NotObserved",
            f"It is not known whether the record {unknown[0].record.name} is published{why}.{more}{note}",
        )
    return Condition(TRUE, "Published", f"All {len(dkim)} DKIM records are published.")


def compute_signing(report: DomainReport) -> Condition:
    """True if every domain has a key that signs, and every pod has shown that it signs with it."""
    active = {key.domain for key in report.keys if key.state == ACTIVE}
    unsigned = [domain for domain in dict.fromkeys(wish.domain for wish in report.wishes) if domain not in active]
    waits = f" {'; '.join(report.waiting[:3])}." if report.waiting else ""
    if unsigned:
        pending = next((key for key in report.keys if key.domain == unsigned[0] and key.state == PENDING), None)
        why = f" until the record of its key {pending.selector} is published" if pending else ""
        more = f", and so is that of {len(unsigned) - 1} more" if len(unsigned) > 1 else ""
        return Condition(FALSE, "WaitingForRecord", f"Mail of {unsigned[0]} is not signed{why}{more}.{waits}")
    if not report.wishes:
        return Condition(TRUE, "NothingToSign", "The spec names no domain.")
    verdict = report.signing
    if verdict is None or verdict.ok is None:
        message = verdict.message if verdict else "Not every ready pod has been asked to sign a probe mail yet."
        return Condition(UNKNOWN, "NotObserved", message + waits)
    return (
        Condition(TRUE, "Verified", verdict.message + waits)
        if verdict.ok
        else Condition(FALSE, "NotSigned", verdict.message + waits)
    )


def _describe_key(key: DkimKey, instance: str) -> dict[str, Any]:
    return {
        "selector": key.selector,
        "algorithm": key.algorithm,
        "bits": key.bits,
        "state": key.state,
        "secretName": names.dkim_secret(instance, key.domain, key.slot),
        "created": key.created,
        **({"signingSince": key.signing_since} if key.signing_since else {}),
    }

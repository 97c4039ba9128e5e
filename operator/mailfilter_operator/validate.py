"""The only step that refuses what a user wrote (but for raw text): MailFilter to ValidMailFilter, or InvalidSpec.

Schema and CEL in the CRD judge most; here stands what they cannot: values that fit one by one and not together.
After this step nothing can fail for a reason that lies in the spec.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from mailfilter_operator.api import MailFilter, Spec
from mailfilter_operator.errors import InvalidSpec
from mailfilter_operator.lists import SenderRule, read_lists
from mailfilter_operator.quantities import parse_quantity
from mailfilter_operator.references import References

MEBIBYTE = 1024 * 1024

METRICS_LIMIT = 900 * 1024
"""Bytes of groups.conf that still fit a ConfigMap (1 MiB by the API server) beside the rest."""


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """Sizes in bytes and times in seconds that belong together; derived from `maxMessageSize` alone."""

    max_message: int
    max_file: int
    max_scan: int
    clamd_timeout: int
    task_timeout: int


@dataclass(frozen=True, slots=True)
class Note:
    """Something valid that does not do all that it seems to; `reason` and `message` as those of a condition."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ValidMailFilter:
    """A MailFilter of which everything can be built."""

    name: str
    namespace: str
    uid: str
    generation: int
    image: str
    spec: Spec
    limits: ScanLimits
    sender_rules: tuple[SenderRule, ...]
    notes: tuple[Note, ...]


def validate(mailfilter: MailFilter, default_image: str, references: References | None = None) -> ValidMailFilter:
    """Check what the schema cannot, and derive what several builders need.

    Raises InvalidSpec or InvalidReference, which name the field and the remedy.
    """
    spec, meta = mailfilter.spec, mailfilter.metadata
    _refuse_colliding_databases(spec.antivirus.signatures.custom_urls)
    _refuse_symbols_in_two_groups(spec)
    _refuse_oversized_metrics(spec)
    shortest = compute_limits(spec.antivirus.max_message_size)
    _refuse_short_timeout(spec, shortest)
    limits = replace(shortest, task_timeout=spec.workers.proxy.timeout_seconds)
    _refuse_small_memory(spec, limits)
    return ValidMailFilter(
        meta.name,
        meta.namespace,
        meta.uid,
        meta.generation,
        image=compute_image(spec, default_image),
        spec=spec,
        limits=limits,
        sender_rules=read_lists(spec, references or References()),
        notes=tuple(_find_notes(spec)),
    )


def compute_limits(max_message_size: str) -> ScanLimits:
    """Limits of rspamd and clamd for messages of up to *max_message_size*, with the shortest task time-out.

    MIME decoding lets clamd count a message twice, and a clean 35 MB attachment exceeded a MaxScanSize of 50 MB
    (tried), hence 2x and 8x. A 40 MB mail took 7.5 s on two cores: 5 s and one more per 5 MiB give it twice that.
    rspamd asks clamd twice, so that the task must outlive two time-outs to see the failure and answer 451.
    """
    size = int(parse_quantity(max_message_size))
    clamd_timeout = 5 + math.ceil(size / (5 * MEBIBYTE))
    return ScanLimits(size, 2 * size, 8 * size, clamd_timeout, 2 * clamd_timeout + 5)


def compute_image(spec: Spec, default_image: str) -> str:
    """Reference of the filter image; a part that the spec leaves out is taken from *default_image*."""
    rest, _, default_digest = default_image.partition("@")
    head, colon, last = rest.rpartition(":")
    default_repository, default_tag = (head, last) if colon and "/" not in last else (rest, "")
    image = spec.image
    repository = image.repository or default_repository
    tag = image.tag or ("" if image.digest else default_tag)
    digest = image.digest or ("" if image.tag else default_digest)
    return repository + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")


def database_name(url: str) -> str:
    """File name that freshclam gives to a database from *url*."""
    return urlsplit(url).path.rsplit("/", 1)[-1]


def _find_notes(spec: Spec) -> Iterator[Note]:
    if spec.actions.greylist != "Disabled":
        yield Note(
            "GreylistInactive",
            "The spec can be rendered. Mail is not greylisted: that needs Redis, which this release does not run. Set "
            "spec.actions.greylist to Disabled if it shall stay so.",
        )


def _refuse_colliding_databases(urls: Iterable[str]) -> None:
    seen: dict[str, int] = {}
    for index, url in enumerate(urls):
        name = database_name(url)
        if name in seen:
            raise InvalidSpec(
                f"spec.antivirus.signatures.customURLs[{index}]",
                f"the file name {name} is that of customURLs[{seen[name]}] too, and freshclam would overwrite one with "
                "the other; serve one of them under another name",
            )
        seen[name] = index


def _refuse_symbols_in_two_groups(spec: Spec) -> None:
    seen: dict[str, str] = {}
    for group in spec.metrics.groups:
        for symbol in group.symbols:
            if symbol.name in seen:
                raise InvalidSpec(
                    f"spec.metrics.groups[{group.name}].symbols[{symbol.name}]",
                    f"the group {seen[symbol.name]} has this symbol too, and rspamd would use one of the two scores; "
                    "leave it in one group",
                )
            seen[symbol.name] = group.name


def _refuse_oversized_metrics(spec: Spec) -> None:
    size = sum(
        len(symbol.name) + 6 * len(symbol.description or "") + 100
        for group in spec.metrics.groups
        for symbol in group.symbols
    )
    if size > METRICS_LIMIT:
        raise InvalidSpec(
            "spec.metrics.groups",
            f"the file for rspamd could take {size} bytes, more than the {METRICS_LIMIT} that fit a ConfigMap; "
            "shorten the descriptions or set fewer symbols",
        )


def _refuse_short_timeout(spec: Spec, shortest: ScanLimits) -> None:
    """A scan that is cut off before clamd's second time-out ends without a word about the virus scanner."""
    timeout = spec.workers.proxy.timeout_seconds
    if timeout < shortest.task_timeout:
        raise InvalidSpec(
            "spec.workers.proxy.timeoutSeconds",
            f"{timeout} is too short to scan messages of spec.antivirus.maxMessageSize; set at least "
            f"{shortest.task_timeout}, or lower maxMessageSize",
        )


def _refuse_small_memory(spec: Spec, limits: ScanLimits) -> None:
    """A container that exceeds its limit is killed, with the mail that it holds."""
    trial = _has_raw_text(spec)
    for container, needed in compute_memory(spec, limits, trial=trial).items():
        memory = getattr(spec.pod.resources, container).limits.memory
        if memory is not None and parse_quantity(memory) < needed:
            tried = " with a trial of spec.config and worker options" if trial and container == "rspamd" else ""
            raise InvalidSpec(
                f"spec.pod.resources.{container}.limits.memory",
                f"{memory} is too little for spec.antivirus.maxMessageSize and the counts of spec.workers, which "
                f"need {math.ceil(needed / MEBIBYTE)}Mi{tried}; raise it, or lower one of them",
            )


def compute_memory(spec: Spec, limits: ScanLimits, *, trial: bool) -> dict[str, int]:
    """Bytes that rspamd and clamd need at least, by container; *trial*: raw text may be tried beside what serves.

    Each holds a message several times while it scans. rspamd with two workers and a controller took 250 MiB (PSS: most
    pages are shared); 60 MiB for each more is an estimate on the safe side. A trial took 180 MiB more.
    """
    workers, message = spec.workers, 4 * limits.max_message
    processes = workers.proxy.count + workers.controller.count - 1
    processes += workers.normal.count if workers.normal.enabled else 0
    rspamd = 130 + 60 * processes + (190 if trial else 0)
    return {"rspamd": message + rspamd * MEBIBYTE, "clamd": message}


def _has_raw_text(spec: Spec) -> bool:
    workers = (spec.workers.proxy, spec.workers.controller, spec.workers.normal)
    return bool(spec.config.files or spec.config.secret_refs or any(worker.options for worker in workers))

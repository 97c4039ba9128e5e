"""The only step that refuses what a user wrote (but for raw text): MailFilter to ValidMailFilter, or InvalidSpec.

Schema and CEL in the CRD judge most; here stands what they cannot: values that fit one by one and not together.
After this step nothing can fail for a reason that lies in the spec.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from mailfilter_operator import names
from mailfilter_operator.api import Alerts, Antivirus, MailFilter, Signatures, Spec
from mailfilter_operator.dkim.own_keys import OwnKey, UnusableKey, parse_own_key
from mailfilter_operator.dkim.suggestions import find_dmarc_faults, find_external_reports, find_spf_faults
from mailfilter_operator.errors import InvalidReference, InvalidSpec
from mailfilter_operator.lists import SenderRule, read_lists
from mailfilter_operator.memory import MEBIBYTE, compute_concurrent_memory, compute_memory, reloads_concurrently
from mailfilter_operator.quantities import parse_quantity
from mailfilter_operator.references import References
from mailfilter_operator.way_out import read_way_out

_LARGEST_FILE = 2**31 - 3
"""Bytes; clamd takes no more for MaxFileSize."""
_BUFFERS = 64 * 1024
"""Bytes; what unzips in clamd writes 8 KiB at a time."""

METRICS_LIMIT = 900 * 1024
"""Bytes of groups.conf that still fit a ConfigMap (1 MiB by the API server) beside the rest."""


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """Sizes in bytes and times in seconds that belong together; derived from `maxMessageSize` alone."""

    max_message: int
    max_stream: int
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
    concurrent_reload: bool
    """clamd scans while it loads other signatures. Otherwise one pod does so at a time."""
    signatures_url: str | None
    """The mirror that freshclam asks; None: ClamAV's own servers, or nobody."""
    way_out: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Files for freshclam's container alone, by path: proxy, certificates."""
    own_keys: Mapping[str, OwnKey] = field(default_factory=dict, repr=False)
    """The keys that domains brought, by domain."""


def validate(
    mailfilter: MailFilter,
    default_image: str,
    references: References | None = None,
    shared_url: str = names.signatures_url("mailfilter-system"),
) -> ValidMailFilter:
    """Check what the schema cannot, and derive what several builders need. *shared_url*: of the source Shared.

    Raises InvalidSpec or InvalidReference, which name the field and the remedy.
    """
    spec, meta = mailfilter.spec, mailfilter.metadata
    _refuse_colliding_databases(spec.antivirus.signatures.custom_urls)
    _refuse_symbols_in_two_groups(spec)
    _refuse_oversized_metrics(spec)
    _refuse_bad_suggestions(spec)
    shortest = compute_limits(spec.antivirus.max_message_size)
    _refuse_short_timeout(spec, shortest)
    limits = replace(shortest, task_timeout=spec.workers.proxy.timeout_seconds)
    _refuse_small_memory(spec, limits)
    found = references or References()
    own_keys = dict(_read_own_keys(spec, found))
    return ValidMailFilter(
        meta.name,
        meta.namespace,
        meta.uid,
        meta.generation,
        image=compute_image(spec, default_image),
        spec=spec,
        limits=limits,
        sender_rules=read_lists(spec, found),
        notes=tuple(_find_notes(spec, limits, own_keys)),
        concurrent_reload=reloads_concurrently(spec, limits.max_message),
        signatures_url=_find_mirror(spec.antivirus.signatures, shared_url),
        way_out=read_way_out(spec.antivirus.signatures, found),
        own_keys=own_keys,
    )


def compute_limits(max_message_size: str) -> ScanLimits:
    """Limits of rspamd and clamd for messages of up to *max_message_size*, with the shortest task time-out.

    MIME decoding lets clamd count a message twice, and a clean 35 MB attachment exceeded a MaxScanSize of 50 MB
    (tried), hence 8x, or what clamd can do at most (4x of 500Mi). What is packed in a zip archive and larger than
    MaxFileSize is cut off without a word, up to a buffer's length below that (unzip.c of ClamAV 1.4.6, tried); so
    MaxFileSize is the larger of the two, and what is left exceeds MaxScanSize, which clamd tells.

    A 40 MB mail took 7.5 s on two cores: 5 s and one more per 5 MiB give it twice that. rspamd asks clamd twice, so
    that the task must outlive two time-outs to see the failure and answer 451.
    """
    size = int(parse_quantity(max_message_size))
    max_scan = min(8 * size, _LARGEST_FILE - _BUFFERS)
    clamd_timeout = 5 + math.ceil(size / (5 * MEBIBYTE))
    return ScanLimits(size, 2 * size, max_scan + _BUFFERS, max_scan, clamd_timeout, 2 * clamd_timeout + 5)


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


def _find_mirror(signatures: Signatures, shared_url: str) -> str | None:
    return shared_url if signatures.source == "Shared" else signatures.mirror_url


def database_name(url: str) -> str:
    """File name that freshclam gives to a database from *url*."""
    return urlsplit(url).path.rsplit("/", 1)[-1]


def _read_own_keys(spec: Spec, references: References) -> Iterator[tuple[str, OwnKey]]:
    for domain in spec.domains:
        reference = domain.dkim.private_key_secret_ref
        if reference is None:
            continue
        where = f"spec.domains[{domain.name}].dkim.privateKeySecretRef"
        try:
            yield domain.name, parse_own_key(references.read_secret_bytes(where, reference))
        except UnusableKey as error:
            raise InvalidReference(
                where, f"the key {reference.key} of the Secret {reference.name} cannot sign: {error}"
            ) from None


def _find_notes(spec: Spec, limits: ScanLimits, own_keys: Mapping[str, OwnKey]) -> Iterator[Note]:
    yield from _find_antivirus_notes(spec.antivirus)
    if not reloads_concurrently(spec, limits.max_message):
        needed = math.ceil(compute_concurrent_memory(spec, limits.max_message) / MEBIBYTE)
        yield Note(
            "ReloadsBlock",
            "A pod scans nothing while it loads new signatures, and mail gets 451 meanwhile unless another pod serves: "
            f"spec.pod.resources.clamd.limits.memory is below the {needed}Mi that would hold the old ones and the new.",
        )
    for domain, key in own_keys.items():
        if key.note:
            yield Note("WeakKey", f"The own key of {domain}: {key.note}")
    for entry in spec.domains:
        permissions = find_external_reports(entry.name, entry.dmarc.aggregate_reports) if entry.dmarc else []
        if permissions:
            yield Note(
                "ReportsNeedPermission",
                f"Reports for {entry.name} go elsewhere only if there is a TXT record "
                f"v=DMARC1 at {permissions[0]} (RFC 7489 section 7.1).",
            )
    if spec.actions.greylist != "Disabled":
        yield Note(
            "GreylistInactive",
            "Mail is not greylisted: that needs Redis, which this release does not run. Set "
            "spec.actions.greylist to Disabled if it shall stay so.",
        )


def _find_antivirus_notes(antivirus: Antivirus) -> Iterator[Note]:
    if antivirus.on_failure == "Accept":
        yield Note(
            "AcceptsUnscanned",
            "With spec.antivirus.onFailure: Accept mail is delivered unscanned while the virus scanner fails.",
        )
    if antivirus.signatures.source == "CustomOnly" and antivirus.on_unofficial == "AddHeader":
        yield Note(
            "FindingsOnlyMarked",
            "With source: CustomOnly no signature is ClamAV's own, and spec.antivirus.onUnofficial: AddHeader delivers "
            "what they find, marked; set it to Reject.",
        )
    yield from _find_hidden_alerts(antivirus.alerts)


_STRICTNESS = ("Accept", "AddHeader", "Quarantine", "TempFail", "Reject")


def _find_hidden_alerts(alerts: Alerts) -> Iterator[Note]:
    """Of several alerts clamd tells any one; it looks for encrypted content and macros only if it is asked to."""
    told = {"limitsExceeded": alerts.limits_exceeded}
    told |= {
        name: policy
        for name, policy in (("encrypted", alerts.encrypted), ("macros", alerts.macros))
        if policy != "Accept"
    }
    ordered = sorted(told, key=lambda name: _STRICTNESS.index(told[name]))
    weak, strict = ordered[0], ordered[-1]
    if told[weak] in ("Accept", "AddHeader") and told[strict] not in ("Accept", "AddHeader"):
        yield Note(
            "AlertsMayBeHidden",
            f"clamd tells one alert of a mail: with spec.antivirus.alerts.{weak}: {told[weak]} it is delivered also if "
            f"{strict}: {told[strict]} is meant for it, but clamd tells the other. Quarantine or a stricter policy for "
            f"{weak} rules that out.",
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


def _refuse_bad_suggestions(spec: Spec) -> None:
    for domain in spec.domains:
        if domain.spf and (faults := find_spf_faults(domain.spf.mechanisms)):
            raise InvalidSpec(f"spec.domains[{domain.name}].spf.mechanisms", faults[0])
        if domain.dmarc and (faults := find_dmarc_faults(domain.name, domain.dmarc.aggregate_reports)):
            raise InvalidSpec(f"spec.domains[{domain.name}].dmarc.aggregateReports", faults[0])


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
    for container, needed in compute_memory(spec, limits.max_message, trial=trial).items():
        memory = getattr(spec.pod.resources, container).limits.memory
        if memory is not None and parse_quantity(memory) < needed:
            use = _describe_use(spec, container, trial=trial)
            raise InvalidSpec(
                f"spec.pod.resources.{container}.limits.memory",
                f"{memory} is too little for {use}: at least {math.ceil(needed / MEBIBYTE)}Mi; raise it",
            )


def _describe_use(spec: Spec, container: str, *, trial: bool) -> str:
    """What a container needs its memory for."""
    if container == "clamd":
        return f"the signatures of the source {spec.antivirus.signatures.source} and spec.antivirus.maxMessageSize"
    tried = ", with a trial of spec.config and worker options" if trial else ""
    return f"spec.antivirus.maxMessageSize and the counts of spec.workers{tried}"


def _has_raw_text(spec: Spec) -> bool:
    workers = (spec.workers.proxy, spec.workers.controller, spec.workers.normal)
    return bool(spec.config.files or spec.config.secret_refs or any(worker.options for worker in workers))

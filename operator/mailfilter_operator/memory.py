"""How much memory the containers of a filter pod need and get, and whether that holds two sets of signatures.

Nothing here knows how large custom databases are: their addresses do not tell. What bounds them is that each is tried
in freshclam's container before clamd loads it, within the memory of that.
"""

from mailfilter_operator.api import Spec
from mailfilter_operator.quantities import parse_quantity

MEBIBYTE = 1024 * 1024

DEFAULT_LIMITS = {"rspamd": "1Gi", "clamd": "4Gi", "freshclam": "512Mi"}
"""ClamAV's documentation: at least 3 GiB for clamd with all signatures, 4 GiB is preferred."""

_WHOLE_SET = 1280 * MEBIBYTE
"""ClamAV's documentation: all of its signatures take about 1.2 GiB, and twice that while others are loaded beside."""
_BARE_ENGINE = 32 * MEBIBYTE
"""With a single signature clamd took 18 MB."""
_NOT_FOR_PROOFS = 64 * MEBIBYTE
"""What prove-database leaves of freshclam's memory to freshclam. Two million hashes of files took 280 MB there."""


def compute_memory(spec: Spec, max_message: int, *, trial: bool) -> dict[str, int]:
    """Bytes that rspamd and clamd need at least, by container; *trial*: raw text may be tried beside what serves.

    Each holds a message several times while it scans. rspamd with two workers and a controller took 250 MiB (PSS: most
    pages are shared); 60 MiB for each more is an estimate on the safe side. A trial took 180 MiB more. clamd holds one
    set of signatures: it frees the old one before it loads another if it has to.
    """
    workers, message = spec.workers, 4 * max_message
    processes = workers.proxy.count + workers.controller.count - 1
    processes += workers.normal.count if workers.normal.enabled else 0
    rspamd = 130 + 60 * processes + (190 if trial else 0)
    return {"rspamd": message + rspamd * MEBIBYTE, "clamd": message + _smallest_engine(spec)}


def compute_concurrent_memory(spec: Spec, max_message: int) -> int:
    """Bytes that clamd may need while it scans with one set of signatures and loads another.

    Custom databases count with all that they could have, also if there are none: what is added to customURLs later
    must not change the pods.
    """
    freshclam = parse_quantity(compute_limit(spec, max_message, "freshclam"))
    custom = max(0, int(freshclam) - _NOT_FOR_PROOFS)
    return 4 * max_message + 2 * (_smallest_engine(spec) + custom)


def compute_limit(spec: Spec, max_message: int, container: str) -> str:
    """The most memory that *container* gets: what the spec says, else the default, or more where it needs more.

    With a trial in any case: raw text that comes later must not change the pods. And with room for two sets of
    signatures: who sets no limit gets a filter that scans all the time.
    """
    resources = getattr(spec.pod.resources, container)
    if resources.limits.memory is not None:
        return str(resources.limits.memory)
    needed = compute_memory(spec, max_message, trial=True)
    if container == "clamd":
        needed["clamd"] = compute_concurrent_memory(spec, max_message)
    known = (DEFAULT_LIMITS[container], str(needed.get(container, 0)), resources.requests.memory or "0")
    return max(known, key=parse_quantity)


def reloads_concurrently(spec: Spec, max_message: int) -> bool:
    """Tell whether clamd has the memory to load new signatures while it scans with the old ones.

    If not, it scans nothing meanwhile: the limit would have it killed in the middle of a load, at every update. (With a
    million hashes of files, 135 MB, clamd 1.4.6 took 260 MB at most, and 136 MB when it could not scan.)
    """
    limit = parse_quantity(compute_limit(spec, max_message, "clamd"))
    return limit >= compute_concurrent_memory(spec, max_message)


def _smallest_engine(spec: Spec) -> int:
    """Bytes of the signatures that are sure to be loaded."""
    return _BARE_ENGINE if spec.antivirus.signatures.source == "CustomOnly" else _WHOLE_SET

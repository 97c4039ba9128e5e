"""Which raw text serves: read back from the objects that pods mount, as far as they can be trusted.

Trusted is what carries the hash that the operator gave it. What somebody else wrote there must not pass for something
that a pod has proven.
"""

from collections.abc import Iterable, Mapping

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.delivery import Pod
from mailfilter_operator.drift import hash_content
from mailfilter_operator.observed import Observed
from mailfilter_operator.raw_text import RawText, find_raw_path
from mailfilter_operator.raw_trial import Serving
from mailfilter_operator.references import decode_text


def read_serving(observed: Observed, pods: Iterable[Pod]) -> Serving[RawText] | None:
    """The raw text that serves and whether a pod has proven it; None if that is not known."""
    instance = observed.mailfilter["metadata"]["name"]
    files = _read_trusted(observed.children.get(("ConfigMap", names.files_configmap(instance))))
    credentials = _read_trusted(observed.credentials)
    if files is None or credentials is None:
        return None
    secret = {key: decode_text(text) or "" for key, text in credentials.items()}
    reported = {pod.report.active for pod in pods if pod.report}
    proven = names.UNPROVEN_KEY not in files or files[names.UNPROVEN_KEY] in reported
    return Serving(RawText(_by_path(files), _by_path(secret)), proven)


def _by_path(data: Mapping[str, str]) -> dict[str, str]:
    """Raw text by the paths of its files; what else lies there is left out."""
    found = ((find_raw_path(key), text) for key, text in data.items())
    return {path: text for path, text in found if path is not None}


def _read_trusted(live: Manifest | None) -> Mapping[str, str] | None:
    if live is None:
        return None
    data: Mapping[str, str] = live.get("data") or {}
    annotations = live["metadata"].get("annotations") or {}
    return data if annotations.get(names.ANNOTATION_CONTENT) == hash_content(data) else None

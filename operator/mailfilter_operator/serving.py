"""Which raw text serves: read back from the objects that pods mount, as far as they can be trusted.

Trusted is what carries the hashes that the operator gave it: one of each object, and one of all text together. What
somebody else wrote there, or what is half of one text and half of another, must not pass for something that a pod has
proven.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.drift import hash_content
from mailfilter_operator.observed import Observed
from mailfilter_operator.raw_text import RawText, find_raw_path, hash_raw_text
from mailfilter_operator.references import decode_text


@dataclass(frozen=True, slots=True)
class Stored:
    """Raw text as the objects hold it."""

    raw: RawText
    proof: str | None
    """What a pod has proven it with, None if none has."""
    unproven: str | None
    """Hash of the configuration that pods have to prove before they take it."""


def read_stored(observed: Observed) -> Stored | None:
    """The raw text that serves; None if that is not known."""
    instance = observed.mailfilter["metadata"]["name"]
    live = observed.children.get(("ConfigMap", names.files_configmap(instance)))
    files, credentials = _read_trusted(live), _read_trusted(observed.credentials)
    if files is None or credentials is None:
        return None
    secret = {key: decode_text(text) or "" for key, text in credentials.items()}
    raw = RawText(_by_path(files), _by_path(secret))
    if _read_annotation(live, names.ANNOTATION_RAW) != hash_raw_text(raw, secret.get(names.SALT_KEY, "")):
        return None
    return Stored(raw, _read_annotation(live, names.ANNOTATION_PROOF), files.get(names.UNPROVEN_KEY))


def _by_path(data: Mapping[str, str]) -> dict[str, str]:
    """Raw text by the paths of its files; what else lies there is left out."""
    found = ((find_raw_path(key), text) for key, text in data.items())
    return {path: text for path, text in found if path is not None}


def _read_trusted(live: Manifest | None) -> Mapping[str, str] | None:
    if live is None:
        return None
    data: Mapping[str, str] = live.get("data") or {}
    return data if _read_annotation(live, names.ANNOTATION_CONTENT) == hash_content(data) else None


def _read_annotation(live: Manifest | None, name: str) -> str | None:
    annotations: Mapping[str, str] = (live or {}).get("metadata", {}).get("annotations") or {}
    return annotations.get(name)

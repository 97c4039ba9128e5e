"""The keyring: the one Secret that pods mount, derived from the key Secrets of the domains that sign.

Its annotation keeps what is public of every key, so that a key Secret that somebody deleted can be restored whole.
"""

import base64
import binascii
import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.dkim.keys import DkimKey

_PUBLIC_FIELDS = {field.name: field.type for field in dataclasses.fields(DkimKey) if field.repr}


def build_keyring_data(signing: Iterable[DkimKey]) -> dict[str, str]:
    """Secret data (file name to base64) of the keys that sign."""
    return {key.file_name: base64.b64encode(key.private_pem).decode("ascii") for key in signing}


def build_keyring_index(signing: Iterable[DkimKey], previous: Manifest | None) -> str:
    """JSON for the keyring's annotation: public facts by domain and slot; of domains that were removed, the name."""
    index: dict[str, Any] = {place: {} for place in _read_index(previous)}
    for key in signing:
        facts = {name: getattr(key, name) for name in _PUBLIC_FIELDS}
        index[f"{key.domain}/{key.slot}"] = {**facts, "file": key.file_name}
    return json.dumps(index, sort_keys=True, separators=(",", ":"))


def parse_keyring(keyring: Manifest | None) -> tuple[DkimKey, ...]:
    """Keys that can be restored from a keyring; entries that somebody damaged are left out."""
    data = (keyring or {}).get("data") or {}
    keys = (_parse_key(entry, data) for entry in _read_index(keyring).values())
    return tuple(key for key in keys if key is not None)


def _parse_key(entry: Any, data: dict[str, str]) -> DkimKey | None:
    try:
        facts = {name: entry[name] for name in _PUBLIC_FIELDS}
        if any(type(facts[name]) is not kind for name, kind in _PUBLIC_FIELDS.items()):
            return None
        key = DkimKey(private_pem=base64.b64decode(data[entry["file"]], validate=True), **facts)
        return key if key.file_name == entry["file"] else None
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None  # of a domain that no longer signs, or damaged


def _read_index(keyring: Manifest | None) -> dict[str, Any]:
    annotations = ((keyring or {}).get("metadata") or {}).get("annotations") or {}
    try:
        index = json.loads(annotations.get(names.ANNOTATION_KEYS, "{}"))
    except (ValueError, RecursionError):  # no JSON, or nested without end
        return {}
    return index if isinstance(index, dict) else {}

"""The keyring: the one Secret that pods mount, derived from the key Secrets of the domains that sign.

Its annotation names every key Secret there is, and keeps what is public of the keys that sign, so that a key Secret
that somebody deleted can be restored whole.
"""

import base64
import binascii
import dataclasses
import json
import re
from collections.abc import Iterable
from typing import Any

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.dkim.keys import ACTIVE, DkimKey, parse_key_file

_PUBLIC_FIELDS = tuple(field.name for field in dataclasses.fields(DkimKey) if field.repr)
_FACTS = tuple(name for name in _PUBLIC_FIELDS if name not in ("domain", "slot"))
"""What an entry says of its key. With both in each, 100 long domains would not fit into the 256 KiB of annotations."""
_KINDS = {"bits": int, "revoked": bool}
"""Of the fields that are not texts."""


def build_keyring_data(signing: Iterable[DkimKey]) -> dict[str, str]:
    """Secret data (file name to base64) of the keys that sign."""
    return {key.file_name: base64.b64encode(key.file_content).decode("ascii") for key in signing}


def build_keyring_index(keys: Iterable[DkimKey]) -> str:
    """JSON for the keyring's annotation: by domain and slot the public facts of keys that sign, of others nothing."""
    index: dict[str, Any] = {}
    for key in keys:
        facts = {name: getattr(key, name) for name in _FACTS}
        index[f"{key.domain}/{key.slot}"] = {**facts, "file": key.file_name} if key.state == ACTIVE else {}
    return json.dumps(index, sort_keys=True, separators=(",", ":"))


def find_places(keyring: Manifest | None) -> tuple[tuple[str, str], ...]:
    """Domain and slot of every key Secret that the keyring knows of."""
    found = (re.fullmatch(r"([-a-z0-9.]{1,253})/([re][0-2])", place) for place in _read_index(keyring))
    return tuple((match[1], match[2]) for match in found if match)


def parse_keyring(keyring: Manifest | None) -> tuple[DkimKey, ...]:
    """Keys that can be restored from a keyring; entries that somebody damaged are left out."""
    data = (keyring or {}).get("data") or {}
    keys = (_parse_key(place, entry, data) for place, entry in _read_index(keyring).items())
    return tuple(key for key in keys if key is not None)


def _parse_key(place: str, entry: Any, data: dict[str, str]) -> DkimKey | None:
    try:
        domain, _, slot = place.partition("/")
        # An entry of an earlier release says domain and slot itself.
        named = {"domain": domain, "slot": slot, **entry}
        facts = {name: named[name] for name in _PUBLIC_FIELDS}
        if facts["state"] != ACTIVE or any(type(fact) is not _KINDS.get(name, str) for name, fact in facts.items()):
            return None
        content = base64.b64decode(data[entry["file"]], validate=True)
        key = DkimKey(private_pem=parse_key_file(facts["algorithm"], content), **facts)
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

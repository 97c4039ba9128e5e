"""Drift: is a live object still as it was applied, and what did others put where nothing of theirs belongs.

Generic, so that no field can be forgotten. A live object is current if it carries the hash of what is wanted (else a
field that is no longer wanted would stay) and holds every wanted value. What the server adds is its own. What others
add is removed where it changes what the object does: keys of ConfigMap and Secret data and of selectors, items
of lists (a container, a port, an owner), fields of a Deployment's or Service's spec. Server-side apply leaves such
additions in place, so a JSON patch removes them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.managed_fields import Path, find_foreign_fields
from mailfilter_operator.quantities import parse_quantity

_EXACT_MAPS = frozenset({("data",), ("binaryData",), ("spec", "selector"), ("spec", "selector", "matchLabels")})
_MERGE_KEYS = ("uid", "mountPath", "containerPort", "port", "name", "key", "topologyKey")
"""What identifies an item of a Kubernetes list, most telling first (volume mounts may share a name)."""


def with_desired_hash(desired: Manifest) -> dict[str, Any]:
    """The object with the annotation that `is_current` compares."""
    text = json.dumps(desired, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    meta = desired["metadata"]
    annotations = {**(meta.get("annotations") or {}), names.ANNOTATION_DESIRED: digest}
    return {**desired, "metadata": {**meta, "annotations": annotations}}


def hash_content(data: Mapping[str, str]) -> str:
    """SHA-256 of what a ConfigMap or Secret holds."""
    return hashlib.sha256(json.dumps(dict(data), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_current(desired: Manifest, live: Manifest) -> bool:
    """Tell whether *live* needs no write; *desired* carries its hash."""
    return _holds(desired, live) and not build_removals(desired, live) and not is_frozen(desired, live)


def is_frozen(desired: Manifest, live: Manifest) -> bool:
    """Tell whether somebody made *live* immutable: its next change would be refused."""
    return bool(live.get("immutable")) and not desired.get("immutable")


def build_removals(desired: Manifest, live: Manifest) -> list[dict[str, Any]]:
    """JSON patch (RFC 6902) that removes from *live* what others added where only wanted entries belong."""
    paths = {*_foreign(desired, live, ()), *find_foreign_fields(desired, live)}
    whole = [path for path in paths if not any(path[:length] in paths for length in range(len(path)))]
    # From the back, so that the positions before stay valid.
    return [{"op": "remove", "path": _pointer(path)} for path in sorted(whole, key=_position, reverse=True)]


def _position(path: Path) -> list[tuple[int, str]]:
    return [(int(step), "") if step.isdigit() else (-1, step) for step in path]


def _foreign(desired: Any, live: Any, path: Path) -> list[Path]:
    """Paths of foreign keys and list items."""
    if isinstance(desired, Mapping) and isinstance(live, Mapping):
        extra = sorted(set(live) - set(desired)) if path in _EXACT_MAPS else []
        missing_maps = [exact[-1] for exact in _EXACT_MAPS if exact[:-1] == path and exact[-1] not in desired]
        extra += [name for name in missing_maps if path == () and live.get(name)]
        inner = [
            found for name in desired if name in live for found in _foreign(desired[name], live[name], (*path, name))
        ]
        return [(*path, name) for name in extra] + inner
    if _is_keyed(live) and (desired == [] or _is_keyed(desired)):
        wanted = {_identity(item): item for item in desired}
        found = []
        for index, item in enumerate(live):
            here = (*path, str(index))
            if _identity(item) in wanted:
                found += _foreign(wanted[_identity(item)], item, here)
            else:
                found.append(here)
        return found
    return []


def _holds(desired: Any, live: Any) -> bool:
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(
            _holds(value, live[name]) if name in live else _is_empty(value) for name, value in desired.items()
        )
    if _is_keyed(desired):
        found = {_identity(item): item for item in live} if _is_keyed(live) else {}
        return all(_identity(item) in found and _holds(item, found[_identity(item)]) for item in desired)
    if isinstance(desired, list | tuple):
        return (
            isinstance(live, list)
            and len(desired) == len(live)
            and all(_holds(wanted, have) for wanted, have in zip(desired, live, strict=True))
        )
    return bool(desired == live) or _is_same_quantity(desired, live)


def _is_keyed(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(item, Mapping) and _identity(item) is not None for item in value)
    )


def _identity(item: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The same port of another protocol is another port."""
    return next(((key, item[key], item.get("protocol")) for key in _MERGE_KEYS if key in item), None)


def _is_empty(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple) and not value


def _is_same_quantity(desired: Any, live: Any) -> bool:
    """The server rewrites quantities in canonical form: 0.5 becomes 500m."""
    if not (isinstance(desired, str) and isinstance(live, str)):
        return False
    try:
        return parse_quantity(desired) == parse_quantity(live)
    except ValueError:
        return False


def _pointer(path: Path) -> str:
    """JSON pointer (RFC 6901)."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)

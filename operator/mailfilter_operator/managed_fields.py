"""What other field managers set on an object of ours, by the server's own account (`metadata.managedFields`).

Server-side apply leaves such fields in place, and some change what the object does: a Deployment with `hostNetwork` or
`paused`, a Service with `externalIPs`. Not looked at: the status, and the pod template's annotations, where
`kubectl rollout restart` and injectors have their business.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mailfilter_operator import names
from mailfilter_operator.api import Manifest

Path = tuple[str, ...]

_PARTS = {"Deployment": ("spec",), "Service": ("spec",)}
_LEFT_ALONE = frozenset({("spec", "template", "metadata", "annotations")})


def find_foreign_fields(desired: Manifest, live: Manifest) -> list[Path]:
    """Paths of fields in *live* that somebody else set and *desired* does not have."""
    found: set[Path] = set()
    for entry in live["metadata"].get("managedFields") or ():
        if entry.get("manager") == names.FIELD_MANAGER or entry.get("subresource") == "status":
            continue
        for part in _PARTS.get(live["kind"], ()):
            fields = (entry.get("fieldsV1") or {}).get(f"f:{part}")
            if isinstance(fields, Mapping):
                found.update(_walk(fields, desired.get(part), live.get(part), (part,)))
    return sorted(found)


def _walk(fields: Mapping[str, Any], desired: Any, live: Any, path: Path) -> Iterator[Path]:
    """Follow one set of fields (`f:name`, `k:{...}` for a list item by its keys) beside both objects."""
    for step, inner in fields.items():
        kind, _, rest = step.partition(":")
        if kind == "f" and isinstance(live, Mapping) and rest in live:
            here = (*path, rest)
            wanted = desired.get(rest) if isinstance(desired, Mapping) else None
            if here in _LEFT_ALONE:
                continue
            if wanted is None:
                yield here
            else:
                yield from _walk(inner, wanted, live[rest], here)
        elif kind == "k" and isinstance(live, list):
            keys = json.loads(rest)
            position, item = _find(live, keys)
            _, wanted = _find(desired, keys)
            if item is not None and wanted is not None:  # a foreign item is found without the server's help
                yield from _walk(inner, wanted, item, (*path, str(position)))


def _find(items: Any, keys: Mapping[str, Any]) -> tuple[int, Mapping[str, Any] | None]:
    for position, item in enumerate(items if isinstance(items, list | tuple) else ()):
        if all(item.get(name) == value for name, value in keys.items()):
            return position, item
    return -1, None

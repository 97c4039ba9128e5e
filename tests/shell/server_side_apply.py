"""Server-side apply, approximated for one field manager that always forces.

What it applied before and no longer applies goes, the rest of the object stays. Lists are merged by the keys of
Kubernetes' own types, the others are replaced whole.
"""

from __future__ import annotations

import copy
from typing import Any

LIST_KEYS = {
    "containers": ("name",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port", "protocol"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}


def merge(live: Any, before: Any, wanted: Any, field: str = "") -> Any:
    """The object *live* after *wanted* was applied, where *before* had been applied by the same manager."""
    if isinstance(wanted, dict):
        held, old = (value if isinstance(value, dict) else {} for value in (live, before))
        kept = {name: value for name, value in held.items() if name in wanted or name not in old}
        merged = {name: merge(held.get(name), old.get(name), value, name) for name, value in wanted.items()}
        return copy.deepcopy(kept) | merged
    if field in LIST_KEYS and isinstance(wanted, list):
        held, old, new = ({_item_key(field, item): item for item in items or ()} for items in (live, before, wanted))
        merged_items = [merge(held.get(key), old.get(key), item) for key, item in new.items()]
        return merged_items + [copy.deepcopy(item) for key, item in held.items() if key not in new and key not in old]
    return copy.deepcopy(wanted)


def _item_key(field: str, item: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(item.get(key) for key in LIST_KEYS[field])

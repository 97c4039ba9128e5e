"""Write what is wanted, in order, and only where it differs; then delete what nothing wants any more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mailfilter_operator.api import Manifest
from mailfilter_operator.build import OWNED_KINDS
from mailfilter_operator.cluster import Cluster
from mailfilter_operator.drift import build_removals, is_current, is_frozen
from mailfilter_operator.errors import Conflict
from mailfilter_operator.observed import Observed
from mailfilter_operator.ownership import is_controlled_by, require_ours

Key = tuple[str, str]
"""Kind and name."""


@dataclass(frozen=True)
class Applied:
    """Live objects by (kind, name) after the pass wrote them, and which were written."""

    live: dict[Key, Manifest]
    written: tuple[str, ...]


def read_places(cluster: Cluster, observed: Observed, wanted: Sequence[Key]) -> dict[Key, Manifest | None]:
    """What is where objects shall be, each ours or None. Raises Conflict if one of the names is taken, ClusterError.

    An object without our labels is not among the children, so that it is looked up by name.
    """
    namespace = observed.mailfilter["metadata"]["namespace"]
    places = {key: observed.children.get(key) or cluster.get(key[0], namespace, key[1]) for key in wanted}
    for found in places.values():
        if found is not None:
            require_ours(found, observed.mailfilter)
    return places


def apply(cluster: Cluster, places: Mapping[Key, Manifest | None], desired: Sequence[Manifest]) -> Applied:
    """Bring every object of *desired* about, in order, where it differs from what was read. Raises ClusterError."""
    live, written = {}, []
    for manifest in desired:
        key = _key(manifest)
        found = places[key]
        if found is not None and is_current(manifest, found):
            live[key] = found
        else:
            live[key] = apply_one(cluster, manifest, found)
            written.append("/".join(key))
    return Applied(live, tuple(written))


def apply_one(cluster: Cluster, manifest: Manifest, found: Manifest | None) -> Manifest:
    """Apply one object, and remove what others added to it: apply alone leaves foreign keys, items and fields there.

    Raises Conflict if somebody made the keyring immutable: no Secret is ever deleted, so a person has to.
    """
    if found is not None and is_frozen(manifest, found):
        if manifest["kind"] == "Secret":
            raise Conflict("Secret", manifest["metadata"]["name"], "was made immutable by somebody")
        cluster.delete(found)
    live = cluster.apply(manifest)
    removals = build_removals(manifest, live)
    return cluster.patch(live, removals) if removals else live


def prune(cluster: Cluster, observed: Observed, desired: Sequence[Manifest]) -> tuple[str, ...]:
    """Delete owned objects that nothing wants; says which, as `kind/name`. Raises ClusterError."""
    wanted = {_key(manifest) for manifest in desired}
    orphans = [
        child
        for key, child in observed.children.items()
        if key not in wanted and key[0] in OWNED_KINDS and is_controlled_by(child, observed.mailfilter)
    ]
    for orphan in orphans:
        cluster.delete(orphan)
    return tuple("/".join(_key(orphan)) for orphan in orphans)


def _key(manifest: Manifest) -> Key:
    return manifest["kind"], manifest["metadata"]["name"]

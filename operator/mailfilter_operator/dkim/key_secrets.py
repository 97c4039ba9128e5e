"""The Secret of a DKIM key, in both directions.

It is the only place where a private key is at home (the keyring is made from it). Everything else that is known of a
key stands on the same Secret, because a restored backup brings it back and drops status: what never changes (domain,
selector, creation) in its immutable data, state and times as annotations.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.dkim.keys import ACTIVE, PENDING, RETIRED, RETIRING, STATES, DkimKey, read_public_der
from mailfilter_operator.errors import Conflict

_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_FACTS = {
    "algorithm": r"RSA|Ed25519",
    "bits": r"[0-9]{3,4}",
    "created": _TIME,
    "domain": rf"{_LABEL}(\.{_LABEL})+",
    "selector": _LABEL,
}
"""What never changes of a key, each with its grammar."""


_ANNOTATIONS = {
    names.ANNOTATION_DOMAIN: "domain",
    names.ANNOTATION_SELECTOR: "selector",
    names.ANNOTATION_ALGORITHM: "algorithm",
    names.ANNOTATION_BITS: "bits",
    names.ANNOTATION_STATE: "state",
    names.ANNOTATION_CREATED: "created",
    names.ANNOTATION_SIGNING_SINCE: "signing_since",
    names.ANNOTATION_ROTATION_ID: "rotation_id",
    names.ANNOTATION_SEEN_AGAIN: "seen_again",
    names.ANNOTATION_LEFT_SINCE: "left_since",
    names.ANNOTATION_REVOKED: "revoked",
}
"""What stands on the Secret for each fact of the key."""

_TIMES = ("signing_since", "seen_again", "left_since")


def build_key_secret(instance: str, namespace: str, key: DkimKey, owner: Manifest | None = None) -> dict[str, Any]:
    """Secret of *key*: immutable, and without owner so that it outlives the MailFilter (`retention: Retain`).

    What never changes of a key is data, which the API server protects; the annotations say it again for people.
    """
    facts = {name: getattr(key, name) for name in _FACTS}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.dkim_secret(instance, key.domain, key.slot),
            "namespace": namespace,
            "labels": names.labels(instance, "dkim"),
            "annotations": {annotation: _write(getattr(key, fact)) for annotation, fact in _ANNOTATIONS.items()},
            **({"ownerReferences": [dict(owner)]} if owner else {}),
        },
        "immutable": True,
        "type": "Opaque",
        "data": {
            names.PRIVATE_KEY: _encode(key.private_pem),
            names.KEY_FACTS: _encode(json.dumps(facts, sort_keys=True).encode()),
        },
    }


def parse_key_secret(instance: str, slot: str, secret: Manifest, witness: DkimKey | None = None) -> DkimKey:
    """Read a key back from its Secret; *witness* is the key that the keyring has for the same domain and slot.

    The witness makes up for labels and annotations that somebody changed: what is in the keyring signs. Raises
    Conflict if the Secret is not one of this MailFilter's key Secrets or holds no usable key: a key is never
    overwritten, so a person has to look.
    """
    meta, data = secret["metadata"], secret.get("data") or {}
    name, annotations = meta["name"], meta.get("annotations") or {}
    try:
        pem = base64.b64decode(data[names.PRIVATE_KEY], validate=True)
        read_public_der(pem)
        facts = _parse_facts(base64.b64decode(data[names.KEY_FACTS], validate=True))
    except KeyError as missing:
        raise Conflict("Secret", name, f"lacks {missing.args[0]}") from None
    except (TypeError, ValueError, binascii.Error):
        raise Conflict("Secret", name, "holds no usable private key, or not what belongs to one") from None
    seen = witness if witness is not None and witness.private_pem == pem else None
    if seen is None and not is_our_key_secret(instance, meta):
        raise Conflict("Secret", name, f"is not a key Secret of the MailFilter {instance}")
    if names.dkim_secret(instance, facts["domain"], slot) != name:
        raise Conflict("Secret", name, f"says that it belongs to the domain {facts['domain']}, which has another name")
    return DkimKey(slot=slot, private_pem=pem, **facts, **_parse_course(annotations, seen, facts["created"]))


def _parse_course(annotations: Mapping[str, str], seen: DkimKey | None, created: str) -> dict[str, Any]:
    """State, times and handled triggers; where somebody changed them, what the rest says.

    *seen* is the key in the keyring, where it signs: it does until another takes over (of two that sign, the newer
    stays) or it is wanted no more, which happens again, or until it is revoked or every pod has left it, which has a
    time.
    """
    if seen is not None and not _has_left(annotations):
        return {name: getattr(seen, name) for name in (*_TIMES, "state", "rotation_id", "revoked")}
    times = {}
    for annotation, fact in _ANNOTATIONS.items():
        if fact in _TIMES:
            text = annotations.get(annotation, "")
            times[fact] = text if re.fullmatch(_TIME, text) else ""
    state = annotations.get(names.ANNOTATION_STATE)
    # A key that is retired has a time at which it was.
    if state not in STATES or (state == RETIRED and not times["left_since"]):
        state = ACTIVE if times["signing_since"] and not times["left_since"] else PENDING
    if state == ACTIVE and not times["signing_since"]:
        times["signing_since"] = created
    return {
        **times,
        "state": state,
        "rotation_id": annotations.get(names.ANNOTATION_ROTATION_ID, ""),
        "revoked": annotations.get(names.ANNOTATION_REVOKED) == "true",
    }


def _has_left(annotations: Mapping[str, str]) -> bool:
    """Tell whether it is said of a key since when no pod signs with it; one that waits or signs has no such time."""
    left = re.fullmatch(_TIME, annotations.get(names.ANNOTATION_LEFT_SINCE, ""))
    return left is not None and annotations.get(names.ANNOTATION_STATE) in (RETIRING, RETIRED)


def build_key_repairs(desired: Manifest, live: Manifest) -> list[dict[str, Any]]:
    """JSON patch (RFC 6902) of labels, annotations and owners of a key Secret that are not as they shall be.

    An owner that is not asked for would make the garbage collector delete the key one day.
    """
    operations: list[dict[str, Any]] = []
    meta = live["metadata"]
    for part in ("labels", "annotations"):
        found, wanted = meta.get(part) or {}, desired["metadata"][part]
        changed = {name: value for name, value in wanted.items() if found.get(name) != value}
        if changed:
            operations.append({"op": "add", "path": f"/metadata/{part}", "value": {**found, **changed}})
    owners = desired["metadata"].get("ownerReferences")
    if owners and meta.get("ownerReferences") != owners:
        operations.append({"op": "add", "path": "/metadata/ownerReferences", "value": owners})
    elif not owners and meta.get("ownerReferences"):
        operations.append({"op": "remove", "path": "/metadata/ownerReferences"})
    return operations


def is_our_key_secret(instance: str, metadata: Mapping[str, Any]) -> bool:
    """Tell whether a Secret carries our labels for *instance* and no controller."""
    found = metadata.get("labels") or {}
    ours = all(found.get(label) == value for label, value in names.labels(instance, "dkim").items())
    return ours and not any(owner.get("controller") for owner in metadata.get("ownerReferences") or ())


def _parse_facts(text: bytes) -> dict[str, Any]:
    facts = json.loads(text)
    if not isinstance(facts, dict) or set(facts) != set(_FACTS):
        raise ValueError("other facts than a key has")
    if not all(re.fullmatch(grammar, str(facts[name])) for name, grammar in _FACTS.items()):
        raise ValueError("a fact that no key has")
    return {**facts, "bits": int(facts["bits"])}


def _write(fact: str | int | bool) -> str:
    return str(fact).lower() if isinstance(fact, bool) else str(fact)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")

"""The generated password of the web interface, and the salt: what is drawn once and then kept in a Secret.

The password has a Secret of its own, for people to read. Whoever edits it there, sets it; whoever empties or deletes
it, gets a new one.
"""

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.build.secrets import build_password_secret
from mailfilter_operator.cluster import Cluster
from mailfilter_operator.credentials import Secrets, compute_password_hash, is_salt
from mailfilter_operator.errors import Conflict, InvalidReference
from mailfilter_operator.observed import Observed
from mailfilter_operator.references import References, decode_text
from mailfilter_operator.validate import ValidMailFilter

_CHARACTERS = string.ascii_letters + string.digits
_LENGTH = 24


def generate_password() -> str:
    """A new password, of 142 bits."""
    return "".join(secrets.choice(_CHARACTERS) for _ in range(_LENGTH))


def generate_salt() -> str:
    """A new salt, of the form that `credentials.is_salt` tells."""
    return secrets.token_hex(32)


@dataclass(frozen=True)
class Draft:
    """What a configuration is rendered with, and what has to be written first, so that it is not lost."""

    secrets: Secrets
    new: Manifest | None = field(default=None, repr=False)
    """A Secret to be created."""
    live: Manifest | None = field(default=None, repr=False)
    repairs: Sequence[dict[str, Any]] = field(default=(), repr=False)
    """JSON patch (RFC 6902) of the Secret *live*."""


def place_of_password(valid: ValidMailFilter) -> tuple[tuple[str, str], ...]:
    """Kind and name of the Secret with the generated password; nothing if the spec names one of its own."""
    own = valid.spec.workers.controller.password_secret_ref
    return () if own is not None else (("Secret", names.controller(valid.name)),)


def draw_secrets(valid: ValidMailFilter, references: References, observed: Observed, live: Manifest | None) -> Draft:
    """Salt and password, as they were before or drawn; *live* is the Secret of the generated one.

    Raises InvalidReference for a password that cannot be used, Conflict.
    """
    salt = _read_salt(observed) or generate_salt()
    reference = valid.spec.workers.controller.password_secret_ref
    if reference is not None:
        path = "spec.workers.controller.passwordSecretRef"
        return Draft(Secrets(salt, compute_password_hash(path, references.read_secret(path, reference), salt)))
    password = _decode_password(live) if live is not None else ""
    desired = build_password_secret(valid, password.strip("\r\n") or generate_password())
    repairs = _build_repairs(desired, live) if live is not None else []
    password = decode_text(desired["data"][names.PASSWORD_KEY]) or ""
    path = f"Secret {names.controller(valid.name)}, key {names.PASSWORD_KEY}"
    return Draft(
        Secrets(salt, compute_password_hash(path, password, salt)), None if live is not None else desired, live, repairs
    )


def store_password(cluster: Cluster, draft: Draft) -> tuple[str, ...]:
    """Write what is new of *draft*; says what that was. Raises ClusterError."""
    if draft.new is not None:
        return (_name(cluster.create(draft.new)),)
    if draft.live is not None and draft.repairs:
        return (_name(cluster.patch(draft.live, list(draft.repairs))),)
    return ()


def _name(secret: Manifest) -> str:
    return f"Secret/{secret['metadata']['name']}"


def _read_salt(observed: Observed) -> str | None:
    data = (observed.credentials or {}).get("data") or {}
    salt = decode_text(data.get(names.SALT_KEY, ""))
    return salt if is_salt(salt) else None


def _decode_password(live: Manifest) -> str:
    text = decode_text((live.get("data") or {}).get(names.PASSWORD_KEY, ""))
    if text is None:
        raise InvalidReference(
            f"Secret {live['metadata']['name']}, key {names.PASSWORD_KEY}",
            "holds no text in UTF-8; write a password there, or delete the key",
        )
    return text


def _build_repairs(desired: Manifest, live: Manifest) -> list[dict[str, Any]]:
    """JSON patch of labels, owner (a MailFilter made anew is another one) and, where there was none, the password."""
    meta, labels, data = desired["metadata"], live["metadata"].get("labels") or {}, live.get("data") or {}
    operations: list[dict[str, Any]] = []
    if not meta["labels"].items() <= labels.items():
        operations.append({"op": "add", "path": "/metadata/labels", "value": {**labels, **meta["labels"]}})
    if live["metadata"].get("ownerReferences") != meta["ownerReferences"]:
        operations.append({"op": "add", "path": "/metadata/ownerReferences", "value": meta["ownerReferences"]})
    if not _decode_password(live).strip("\r\n"):
        if live.get("immutable"):
            raise Conflict("Secret", live["metadata"]["name"], "was made immutable by somebody, and holds no password")
        operations.append({"op": "add", "path": "/data", "value": {**data, **desired["data"]}})
    return operations

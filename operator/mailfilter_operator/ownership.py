"""Whose an object is.

Ours is: controlled by this MailFilter, labelled or not; or our labels and no controller, or as controller a MailFilter
of this name, which was deleted and made anew (two of one name cannot be in a namespace). Anything else of the same name
is a conflict and never taken over.
"""

from collections.abc import Mapping
from typing import Any

from mailfilter_operator import names
from mailfilter_operator.api import Manifest, Metadata
from mailfilter_operator.errors import Conflict


def is_ours(live: Manifest, mailfilter: Manifest) -> bool:
    """Tell whether *live* may be written for *mailfilter*."""
    controller = _controller(live)
    meta = mailfilter["metadata"]
    if controller is not None and controller.get("uid") == meta["uid"]:
        return True
    if controller is None:
        return _has_labels(live, meta["name"])
    return (
        _has_labels(live, meta["name"])
        and controller.get("kind") == names.KIND
        and str(controller.get("apiVersion", "")).startswith(f"{names.GROUP}/")
        and controller.get("name") == meta["name"]
    )


def is_controlled_by(live: Manifest, mailfilter: Manifest) -> bool:
    """Tell whether *live* is an orphan to prune if nothing wants it: our labels and the owner's UID."""
    controller = _controller(live)
    meta = mailfilter["metadata"]
    return controller is not None and controller.get("uid") == meta["uid"] and _has_labels(live, meta["name"])


def require_ours(live: Manifest, mailfilter: Manifest) -> None:
    """Raise Conflict if *live* is somebody else's."""
    if not is_ours(live, mailfilter):
        controller = _controller(live)
        why = (
            f"is controlled by {controller.get('kind')} {controller.get('name')}"
            if controller
            else f"does not carry the labels of the MailFilter {mailfilter['metadata']['name']}"
        )
        raise Conflict(live["kind"], live["metadata"]["name"], why)


def build_owner_reference(meta: Metadata) -> dict[str, str]:
    """Owner that makes the garbage collector delete an object with the MailFilter, and controls nothing."""
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": meta.name, "uid": meta.uid}


def _controller(live: Manifest) -> Mapping[str, Any] | None:
    owners = live["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def _has_labels(live: Manifest, instance: str) -> bool:
    labels = live["metadata"].get("labels") or {}
    return labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY and labels.get(names.LABEL_INSTANCE) == instance

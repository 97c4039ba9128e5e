"""Metadata of the objects of a MailFilter: one labels function, one owner reference."""

from typing import Any

from mailfilter_operator import names
from mailfilter_operator.drift import hash_content
from mailfilter_operator.validate import ValidMailFilter


def build_metadata(
    valid: ValidMailFilter, name: str, component: str = "filter", annotations: dict[str, str] | None = None
) -> dict[str, Any]:
    """Metadata of an owned object, which the garbage collector deletes with the MailFilter."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": valid.namespace,
        "labels": names.labels(valid.name, component),
        "ownerReferences": [
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": valid.name,
                "uid": valid.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    if annotations:
        metadata["annotations"] = annotations
    return metadata


def with_content_hash(manifest: dict[str, Any]) -> dict[str, Any]:
    """A ConfigMap or Secret with the annotation by which its data is known to be ours."""
    meta = manifest["metadata"]
    content = {names.ANNOTATION_CONTENT: hash_content(manifest["data"])}
    return {**manifest, "metadata": {**meta, "annotations": {**meta.get("annotations", {}), **content}}}

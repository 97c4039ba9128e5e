"""Raw text of MailFilters in memory, and what pods are told of it."""

from __future__ import annotations

import base64
from typing import Any

from tests.shell.world import World

from mailfilter_operator import names

MULTIMAP = "local.d/multimap.conf"
KEY = "local.d_multimap.conf"


def raw(text: str, **spec: Any) -> dict[str, Any]:
    """Return a spec with one file of raw text."""
    return {"config": {"files": {MULTIMAP: text}}, **spec}


def with_secret(world: World, text: str, secret: str) -> dict[str, Any]:
    """Return a spec with one file of raw text, and one from a Secret that is there from now on."""
    meta = {"name": "own", "namespace": "mail"}
    encoded = base64.b64encode(secret.encode()).decode()
    world.cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"rbl": encoded}})
    reference = {"path": "local.d/rbl.conf", "name": "own", "key": "rbl"}
    return {"config": {"files": {MULTIMAP: text}, "secretRefs": [reference]}}


def told(world: World, pod: str = "mx-1") -> dict[str, str]:
    """Return the annotations of a pod, without when it was told."""
    annotations = world.object("Pod", pod)["metadata"].get("annotations", {})
    return {name: text for name, text in annotations.items() if name != names.ANNOTATION_TOLD}


def data(world: World, name: str) -> dict[str, str]:
    """Return what a ConfigMap holds."""
    return dict(world.object("ConfigMap", name)["data"])

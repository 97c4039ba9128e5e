"""An API server in memory: what the operator relies on, and a list of what was written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import jsonpatch
from tests.shell.server_side_apply import merge

from mailfilter_operator.api import Manifest
from mailfilter_operator.errors import ClusterError

Key = tuple[str, str, str]
"""Kind, namespace, name."""


class MemoryCluster:
    """A Cluster; `writes` are verb and `Kind/name` of every write, `on_write` is told before and after each."""

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.writes: list[tuple[str, str]] = []
        self.on_write: Callable[[str], None] = lambda _moment: None
        self._applied: dict[Key, dict[str, Any]] = {}
        self._version = 0

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        found: Manifest | None = _copy(self.objects.get((kind, namespace, name)))
        return found

    def list_objects(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Manifest]:
        wanted = dict(term.split("=") for term in selector.split(",") if term)
        return [
            _copy(found)
            for key, found in sorted(self.objects.items())
            if key[0] == kind and namespace in (None, key[1])
            if wanted.items() <= (found["metadata"].get("labels") or {}).items()
        ]

    def create(self, manifest: Manifest) -> Manifest:
        made: dict[str, Any] = _copy(manifest)
        made["metadata"].setdefault("name", f"{made['metadata'].pop('generateName', '')}{self._version}")
        if _key(made) in self.objects:
            raise _refusal("POST", made, 409)
        return self._write("create", made)

    def apply(self, manifest: Manifest) -> Manifest:
        key, live = _key(manifest), self.objects.get(_key(manifest), {})
        merged = merge(live, self._applied.get(key, {}), manifest)
        if sum(owner.get("controller", False) for owner in merged["metadata"].get("ownerReferences") or ()) > 1:
            raise _refusal("PATCH", manifest, 422)
        self._applied[key] = _copy(manifest)
        return self._write("apply", merged)

    def apply_status(self, manifest: Manifest) -> Manifest:
        return self._write("apply_status", {**self._live("PATCH", manifest), "status": manifest["status"]})

    def replace(self, manifest: Manifest) -> Manifest:
        if manifest["metadata"].get("resourceVersion") != self._live("PUT", manifest)["metadata"]["resourceVersion"]:
            raise _refusal("PUT", manifest, 409)
        return self._write("replace", _copy(manifest))

    def patch(self, live: Manifest, operations: list[dict[str, Any]]) -> Manifest:
        now = self._live("PATCH", live)
        if live["metadata"]["resourceVersion"] != now["metadata"]["resourceVersion"]:
            raise _refusal("PATCH", live, 422)
        return self._write("patch", jsonpatch.JsonPatch(operations).apply(now))

    def annotate(self, live: Manifest, annotations: Mapping[str, str | None]) -> Manifest:
        now = self._live("PATCH", live)
        if live["metadata"]["uid"] != now["metadata"]["uid"]:
            raise _refusal("PATCH", live, 409)
        merged = {**(now["metadata"].get("annotations") or {}), **annotations}
        now["metadata"]["annotations"] = {name: text for name, text in merged.items() if text is not None}
        return self._write("annotate", now)

    def delete(self, live: Manifest) -> None:
        if self.objects.get(_key(live), {"metadata": {}})["metadata"].get("uid") == live["metadata"]["uid"]:
            self._record("delete", live, lambda: self.remove(*_key(live)))

    def remove(self, *key: str) -> None:
        """Delete an object as somebody else would."""
        self.objects.pop(key, None)  # type: ignore[arg-type]
        self._applied.pop(key, None)  # type: ignore[arg-type]

    def put(self, manifest: Manifest) -> Manifest:
        """Store an object as somebody else would: no write of the operator."""
        key = _key(manifest)
        made: dict[str, Any] = _copy(manifest)
        before = self.objects.get(key, {"metadata": {}})
        self._version += 1
        made["metadata"].setdefault("uid", before["metadata"].get("uid", f"uid-{self._version}"))
        if {**before, "status": 0, "metadata": 0} != {**made, "status": 0, "metadata": 0}:
            made["metadata"]["generation"] = before["metadata"].get("generation", 0) + 1
        made["metadata"]["resourceVersion"] = str(self._version)
        self.objects[key] = made
        return made

    def _write(self, verb: str, manifest: dict[str, Any]) -> Manifest:
        changed = manifest != self.objects.get(_key(manifest))  # what changes nothing gets no new version
        self._record(verb, manifest, (lambda: self.put(manifest)) if changed else (lambda: None))
        return self._live("GET", manifest)

    def _record(self, verb: str, manifest: Manifest, change: Callable[[], object]) -> None:
        self.on_write("before")
        change()
        self.writes.append((verb, f"{manifest['kind']}/{manifest['metadata']['name']}"))
        self.on_write("after")

    def _live(self, method: str, manifest: Manifest) -> dict[str, Any]:
        if _key(manifest) not in self.objects:
            raise _refusal(method, manifest, 404)
        live: dict[str, Any] = _copy(self.objects[_key(manifest)])
        return live


def _key(manifest: Manifest) -> Key:
    return manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _refusal(method: str, manifest: Manifest, status: int) -> ClusterError:
    return ClusterError(method, manifest["kind"], manifest["metadata"]["name"], status, "refused")

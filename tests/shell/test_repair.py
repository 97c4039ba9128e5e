"""What somebody else does to an object of ours is undone by one pass, and only that object is written."""

from __future__ import annotations

from typing import Any

import pytest
from tests.shell.world import World

Path = tuple[str | int, ...]
LABEL = "app.kubernetes.io/instance"
CHILDREN = [
    ("ServiceAccount", "mx"),
    ("ConfigMap", "mx-metrics"),
    ("ConfigMap", "mx-workers"),
    ("ConfigMap", "mx-modules"),
    ("ConfigMap", "mx-clamav"),
    ("Secret", "mx-keyring"),
    ("Service", "mx"),
    ("Deployment", "mx"),
]
POD: Path = ("spec", "template", "spec")
EDITS: list[tuple[str, str, Path, Any]] = [
    ("ConfigMap", "mx-metrics", ("data", "override.d_actions.conf"), "reject = 999;"),
    ("ConfigMap", "mx-modules", ("data", "override.d_planted.conf"), "planted"),
    ("ConfigMap", "mx-modules", ("data", "manifest"), None),
    ("ConfigMap", "mx-clamav", ("binaryData",), {"planted": "AA=="}),
    ("Secret", "mx-keyring", ("data", "planted.key"), "AA=="),
    ("Secret", "mx-keyring", ("metadata", "annotations", "mailfilter.dev/keys"), "{}"),
    ("Service", "mx", ("spec", "selector", "planted"), "x"),
    ("Service", "mx", ("spec", "ports", 1), {"name": "planted", "port": 11332, "protocol": "UDP"}),
    ("Service", "mx", ("spec", "type"), "NodePort"),
    ("ServiceAccount", "mx", ("automountServiceAccountToken",), True),
    ("Deployment", "mx", ("spec", "replicas"), 0),
    ("Deployment", "mx", (*POD, "containers", 0), {"name": "planted", "image": "x"}),
    ("Deployment", "mx", (*POD, "containers", 0, "image"), "planted"),
    ("Deployment", "mx", (*POD, "imagePullSecrets", 0), {"name": "planted"}),
    ("Deployment", "mx", (*POD, "volumes", 0), {"name": "planted", "emptyDir": {}}),
    ("Deployment", "mx", (*POD, "topologySpreadConstraints", 0), {"topologyKey": "zone", "maxSkew": 1}),
    ("Deployment", "mx", ("metadata", "annotations", "mailfilter.dev/desired-hash"), None),
    *((kind, name, ("metadata", "labels", LABEL), None) for kind, name in CHILDREN),
    *((kind, name, ("metadata", "labels", LABEL), "other") for kind, name in CHILDREN),
    *((kind, name, ("metadata", "labels"), None) for kind, name in CHILDREN),
    *((kind, name, ("metadata", "ownerReferences"), None) for kind, name in CHILDREN),
    *(
        (kind, name, ("metadata", "ownerReferences", 0), {"kind": "Job", "name": "x", "uid": "other"})
        for kind, name in CHILDREN
    ),
]


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    EDITS,
    ids=[f"{kind}-{name}-{path[-1]}-{value}" for kind, name, path, value in EDITS],
)
def test_edited_object_is_back_as_it_was(running: World, kind: str, name: str, path: Path, value: Any) -> None:
    before = running.content()
    running.edit(kind, name, *path, value=value)
    written = running.written()

    assert {name for verb, name in written if verb != "apply_status"} == {f"{kind}/{name}"}
    running.roll_out()
    running.look()
    assert running.content() == before
    assert running.written() == []


@pytest.mark.parametrize(("kind", "name"), CHILDREN)
def test_deleted_object_is_made_again(running: World, kind: str, name: str) -> None:
    before = running.content()
    running.cluster.remove(kind, "mail", name)

    assert ("apply", f"{kind}/{name}") in running.written()
    running.roll_out()
    running.look()
    assert running.content() == before


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Service", ("metadata", "annotations", "cloud.test/balancer"), "x"),
        ("Service", ("metadata", "labels", "team"), "mail"),
        ("Service", ("spec", "clusterIP"), "192.0.2.1"),
        ("Deployment", ("spec", "progressDeadlineSeconds"), 600),
        ("Deployment", (*POD, "tolerations"), [{"key": "x"}]),
        ("Deployment", (*POD, "containers", 0, "terminationMessagePath"), "/dev/termination-log"),
    ],
)
def test_what_others_may_add_is_theirs(running: World, kind: str, path: Path, value: Any) -> None:
    running.edit(kind, "mx", *path, value=value)
    running.roll_out()

    assert running.written() == []

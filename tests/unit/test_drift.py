"""Is a live object still as it was applied, and what is too much in it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.build import build
from mailfilter_operator.drift import build_removals, is_current, with_desired_hash

Steps = tuple[str | int, ...]

KEYS = (samples.dkim_key("example.com"),)
VALID = samples.valid(image={"pullSecrets": ["login"]}, pod={"resources": {"rspamd": {"limits": {"cpu": "1.5"}}}})
DESIRED = {
    (manifest["kind"], manifest["metadata"]["name"]): manifest
    for manifest in build(VALID, samples.plan(VALID, KEYS), KEYS)
}
DEPLOYMENT, SERVICE, MODULES = DESIRED["Deployment", "mx"], DESIRED["Service", "mx"], DESIRED["ConfigMap", "mx-modules"]
BUDGET = DESIRED["PodDisruptionBudget", "mx"]
KEYRING, ACCOUNT = DESIRED["Secret", "mx-keyring"], DESIRED["ServiceAccount", "mx"]
ALL = pytest.mark.parametrize("desired", DESIRED.values(), ids=["/".join(key) for key in DESIRED])


def leaves(value: Any, path: Steps = ()) -> Iterator[Steps]:
    """Paths of all scalars."""
    if isinstance(value, dict | list):
        for step, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(child, (*path, step))
    else:
        yield path


def changed(manifest: Any, path: Steps, change: Callable[[Any, Any], None]) -> Any:
    """A copy in which *change* was done to the container that holds *path*, at its last step."""
    result = copy.deepcopy(manifest)
    holder = result
    for step in path[:-1]:
        holder = holder[step]
    change(holder, path[-1])
    return result


def another(value: Any) -> Any:
    """A value of the same type that means something else."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case _:
            return f"{value}x"


def replace_leaf(holder: Any, step: Any) -> None:
    holder[step] = another(holder[step])


def remove_leaf(holder: Any, step: Any) -> None:
    del holder[step]


def with_defaults(value: Any, path: Steps = ()) -> Any:
    """What a server makes of an object: more fields wherever they are not ours alone."""
    if isinstance(value, list):
        return [with_defaults(item, (*path, index)) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    filled = {name: with_defaults(child, (*path, name)) for name, child in value.items()}
    ours_alone = {("data",), ("spec", "selector"), ("spec", "selector", "matchLabels")}
    return filled if path in ours_alone else {**filled, "addedByTheServer": {"deep": [1]}}


@ALL
def test_object_as_it_was_applied_is_current(desired: dict[str, Any]) -> None:
    assert is_current(desired, copy.deepcopy(desired))


@ALL
def test_what_the_server_adds_is_no_drift(desired: dict[str, Any]) -> None:
    live = with_defaults(desired)

    assert live != desired
    assert is_current(desired, live)


@ALL
@pytest.mark.parametrize("change", [replace_leaf, remove_leaf])
def test_every_wanted_value_that_is_changed_or_removed_is_drift(
    desired: dict[str, Any], change: Callable[[Any, Any], None]
) -> None:
    unnoticed = [path for path in leaves(desired) if is_current(desired, changed(desired, path, change))]

    assert unnoticed == []


@ALL
def test_object_of_another_desired_state_is_not_current_though_it_holds_every_value(desired: dict[str, Any]) -> None:
    """A field that is no longer wanted is only seen by the hash."""
    meta = desired["metadata"]
    bare = {**desired, "metadata": {**meta, "labels": {**meta["labels"], "more": "one"}, "annotations": {}}}
    before = with_desired_hash(bare)

    assert not is_current(desired, before)


def foreign_entries() -> Iterator[Any]:
    """Additions by others that change what an object does: the object wanted, where, what."""

    def case(title: str, desired: Any, path: Steps, value: Any) -> Any:
        return pytest.param(desired, path, value, id=title)

    pod: Steps = ("spec", "template", "spec")
    port = {"name": "other", "port": 25, "targetPort": 25, "protocol": "TCP"}
    expression = {"key": "planted", "operator": "Exists"}
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "another"}
    yield case("key of a ConfigMap", MODULES, ("data", "override.d~/planted.conf"), "enabled = false;")
    yield case("binary data of a ConfigMap", MODULES, ("binaryData",), {"planted": "AA=="})
    yield case("key of a Secret", KEYRING, ("data", "planted.key"), "AA==")
    yield case("label of a Service's selector", SERVICE, ("spec", "selector", "planted"), "x")
    yield case("label of a budget's selector", BUDGET, ("spec", "selector", "matchLabels", "planted"), "x")
    yield case("expressions of a budget's selector", BUDGET, ("spec", "selector", "matchExpressions"), [expression])
    yield case("port of a Service", SERVICE, ("spec", "ports", 1), port)
    yield case("port of a Service before ours", SERVICE, ("spec", "ports", 0), port)
    yield case("same port by UDP", SERVICE, ("spec", "ports", 1), {**port, "port": 11332, "protocol": "UDP"})
    yield case("owner", ACCOUNT, ("metadata", "ownerReferences", 1), owner)
    yield case("container", DEPLOYMENT, (*pod, "containers", 1), {"name": "planted", "image": "x"})
    yield case("init container", DEPLOYMENT, (*pod, "initContainers", 0), {"name": "planted", "image": "x"})
    yield case("volume", DEPLOYMENT, (*pod, "volumes", 3), {"name": "planted", "emptyDir": {}})
    yield case(
        "mount", DEPLOYMENT, (*pod, "containers", 0, "volumeMounts", 2), {"name": "clamd", "mountPath": "/planted"}
    )
    yield case("port of a container", DEPLOYMENT, (*pod, "containers", 0, "ports", 0), {"containerPort": 1})
    zone = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    yield case("spread constraint", DEPLOYMENT, (*pod, "topologySpreadConstraints", 0), zone)
    yield case("pull secret", DEPLOYMENT, (*pod, "imagePullSecrets", 0), {"name": "planted"})


def insert(holder: Any, step: Any, value: Any) -> None:
    if isinstance(holder, list):
        holder.insert(step, value)
    else:
        holder[step] = value


def mended(desired: Any, live: Any) -> Any:
    """*live* after the removals, as the API server does them."""
    return jsonpatch.JsonPatch(build_removals(desired, live)).apply(live)


@pytest.mark.parametrize(("desired", "path", "value"), [*foreign_entries()])
def test_foreign_entry_is_found_and_its_removal_mends_the_object(desired: Any, path: Steps, value: Any) -> None:
    live = changed(desired, path, lambda holder, step: insert(holder, step, value))

    assert not is_current(desired, live)
    assert [removal["op"] for removal in build_removals(desired, live)] == ["remove"]
    assert mended(desired, live) == desired


@given(st.sets(st.integers(0, len(list(foreign_entries())) - 1), min_size=1))
def test_any_number_of_foreign_entries_is_removed_at_once(chosen: set[int]) -> None:
    """Each removal leaves the places of those that follow as they were."""
    lives: dict[str, Any] = copy.deepcopy({"/".join(key): manifest for key, manifest in DESIRED.items()})
    for number, case in enumerate(foreign_entries()):
        if number in chosen:
            desired, path, value = case.values
            key = "/".join((desired["kind"], desired["metadata"]["name"]))
            lives[key] = changed(lives[key], path, lambda holder, step, value=value: insert(holder, step, value))  # type: ignore[misc]

    for key, live in lives.items():
        desired = DESIRED[tuple(key.split("/"))]  # type: ignore[index]
        assert mended(desired, live) == desired


def test_entries_of_a_list_that_shall_be_empty_are_foreign() -> None:
    valid = samples.valid()
    desired = next(
        manifest for manifest in build(valid, samples.plan(valid, KEYS), KEYS) if manifest["kind"] == "Deployment"
    )
    path = ("spec", "template", "spec", "imagePullSecrets")
    live = changed(desired, path, lambda holder, step: insert(holder, step, [{"name": "planted"}]))

    assert not is_current(desired, live)
    assert mended(desired, live) == desired


def test_empty_value_that_the_server_left_out_is_no_drift() -> None:
    desired = with_desired_hash({"metadata": {"name": "x"}, "list": [], "object": {}})

    assert is_current(desired, {"metadata": desired["metadata"]})


@pytest.mark.parametrize(
    ("wanted", "live", "same"),
    [
        ("0.5", "500m", True),
        ("1024Mi", "1Gi", True),
        ("0.5", "501m", False),
        ("0.5", 0.5, False),
        ("x", "500m", False),
        ("500m", "x", False),
    ],
)
def test_quantity_in_another_form_is_no_drift(wanted: Any, live: Any, same: bool) -> None:
    desired = with_desired_hash({"metadata": {"name": "x"}, "limits": {"cpu": wanted}})

    assert is_current(desired, {**desired, "limits": {"cpu": live}}) is same


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"a": {"b": 1}}, {"a": None}),
        ({"a": ["x"]}, {"a": {"0": "x"}}),
        ({"a": ["x"]}, {"a": ["x", "y"]}),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}),
        ({"a": [{"name": "x"}]}, {"a": ["x"]}),
        ({"a": [{"name": "x"}]}, {"a": []}),
        ({"a": [{"name": "x"}]}, {"a": [{"other": "x"}]}),
        ({"a": [{"other": 1}]}, {"a": [{"other": 2}]}),
    ],
)
def test_other_shape_is_drift(wanted: Any, live: Any) -> None:
    desired = with_desired_hash({"metadata": {"name": "x"}, **wanted})

    assert not is_current(desired, {**desired, **live})


def test_order_of_named_items_is_no_drift() -> None:
    live = copy.deepcopy(DEPLOYMENT)
    live["spec"]["template"]["spec"]["containers"].reverse()

    assert is_current(DEPLOYMENT, live)


def test_pointer_escapes_what_rfc_6901_says() -> None:
    live = {**MODULES, "data": {**MODULES["data"], "a/b~c": "x"}}

    assert build_removals(MODULES, live) == [{"op": "remove", "path": "/data/a~1b~0c"}]


def test_desired_hash_follows_the_content_and_not_the_order_of_fields() -> None:
    one = with_desired_hash({"metadata": {"name": "x", "annotations": {"a": "b"}}, "data": {"a": "1", "b": "2"}})
    same = with_desired_hash({"data": {"b": "2", "a": "1"}, "metadata": {"annotations": {"a": "b"}, "name": "x"}})
    other = with_desired_hash({"metadata": {"name": "x", "annotations": {"a": "b"}}, "data": {"a": "1", "b": "3"}})

    assert one == same
    assert one["metadata"]["annotations"]["a"] == "b"
    hashes = {found["metadata"]["annotations"][names.ANNOTATION_DESIRED] for found in (one, same, other)}
    assert len(hashes) == 2

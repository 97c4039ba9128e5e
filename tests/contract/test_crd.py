"""The CRD says everything of every field, every rule of it is tried, and the operator's classes agree with it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import yaml
from tests.api import cases

from mailfilter_operator import api, names
from mailfilter_operator.dkim import keys, published

CRD: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "crds" / f"{names.PLURAL}.{names.GROUP}.yaml").read_text()
)
FETCHED_DATABASE = Path(__file__).parents[2] / "image" / "bin" / "fetched-database"
VERSION: dict[str, Any] = CRD["spec"]["versions"][0]
ROOT: dict[str, Any] = VERSION["schema"]["openAPIV3Schema"]

Node = tuple[str, dict[str, Any]]


def walk(schema: dict[str, Any] = ROOT, path: str = "") -> Iterator[Node]:
    """Yield every schema below *schema* with its path; items of a list or map have its path and `[]`."""
    for name, child in schema.get("properties", {}).items():
        here = f"{path}.{name}".lstrip(".")
        yield here, child
        yield from walk(child, here)
    for item in [schema[key] for key in ("items", "additionalProperties") if key in schema]:
        yield f"{path}[]", item
        yield from walk(item, f"{path}[]")


def rules() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield every CEL rule with the path of the field that it complains about."""
    for path, schema in [("", ROOT), *walk()]:
        for rule in schema.get("x-kubernetes-validations", []):
            yield (path + rule.get("fieldPath", "")).lstrip("."), rule


NODES = list(walk())
RULES = list(rules())
REFUSED = cases.load_refused()
SUGGESTIONS = ("spec.domains[].spf", "spec.domains[].dmarc")
REMEDIES = ("begin", "choose", "end", "give", "leave", "list", "lower", "name", "raise", "shorten", "use", "write")


def test_every_property_is_described() -> None:
    """In sentences. Of metadata the API server allows no description."""
    sentences = re.compile(r"[A-Z`].{9,}[.]")

    assert [path for path, schema in NODES if not sentences.fullmatch(schema.get("description", ""))] == ["metadata"]


def test_every_field_of_the_spec_has_an_example() -> None:
    """Or names every value that it can have."""
    spec = [(path, schema) for path, schema in NODES if path.startswith("spec.")]
    silent = [(path, schema) for path, schema in spec if not re.search(r"\bExamples?: \S", schema["description"])]

    assert [
        path
        for path, schema in silent
        if "enum" not in schema or not all(f"{word}:" in schema["description"] for word in schema["enum"])
    ] == []


def is_bounded(schema: dict[str, Any]) -> bool:
    """Tell whether a value has a greatest size."""
    if schema.get("x-kubernetes-int-or-string"):
        return "maxLength" in schema and bool(schema.get("x-kubernetes-validations"))
    match schema["type"]:
        case "string":
            return "enum" in schema or "maxLength" in schema
        case "integer":
            most_is_known = "maximum" in schema or schema["format"] == "int64"
            return "enum" in schema or ("minimum" in schema and most_is_known)
        case "array":
            return "maxItems" in schema
        case "object":
            return "properties" in schema or "maxProperties" in schema
        case kind:
            return bool(kind == "boolean")


def test_every_property_is_bounded() -> None:
    assert [path for path, schema in NODES if not is_bounded(schema)] == []


def test_no_property_is_a_float_or_may_be_null_or_anything() -> None:
    unwanted = ("nullable", "x-kubernetes-preserve-unknown-fields", "anyOf", "oneOf")

    assert [path for path, schema in NODES if schema.get("type") == "number" or set(unwanted) & set(schema)] == []
    assert {schema["format"] for _, schema in NODES if schema.get("type") == "integer"} == {"int32", "int64"}


def test_no_property_is_judged_by_a_pattern() -> None:
    """A CEL rule says what to write; a pattern only says that it is wrong."""
    assert [path for path, schema in NODES if "pattern" in schema] == []


def test_names_of_properties_follow_the_conventions() -> None:
    properties = {path.removesuffix("[]").rpartition(".")[2] for path, _ in NODES}

    assert [name for name in properties if not re.fullmatch(r"[a-z][A-Za-z]*", name)] == []
    assert [name for name in properties if name == "phase" or name.endswith("Timestamp")] == []


def test_enums_are_camel_case() -> None:
    words = {value for _, schema in NODES if schema.get("type") == "string" for value in schema.get("enum", ())}

    assert [word for word in words if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", word)] == []


def test_every_list_is_typed() -> None:
    lists = {path: schema for path, schema in NODES if schema.get("type") == "array"}

    for path, schema in lists.items():
        assert schema.get("x-kubernetes-list-type") in ("map", "set", "atomic"), path
        assert set(schema.get("x-kubernetes-list-map-keys", ())) <= set(schema["items"].get("required", ())), path


def test_nothing_required_has_a_default() -> None:
    for path, schema in [("", ROOT), *NODES]:
        for name in schema.get("required", ()):
            assert "default" not in schema["properties"][name], f"{path}.{name}"


def test_every_default_appears_in_the_stored_object() -> None:
    """The parent of a default has one itself, or must be given, or is an item of a list.

    But for records that are suggested: without an object of theirs there is none.
    """
    by_path = {"": ROOT, **dict(NODES)}
    for path, schema in NODES:
        parent, _, name = path.rpartition(".")
        given = path.endswith("[]") or name in by_path[parent].get("required", ()) or path in SUGGESTIONS
        if any("default" in child for child in schema.get("properties", {}).values()) and not given:
            assert schema.get("default") == {}, path


def test_every_message_names_the_remedy() -> None:
    messages = [rule["message"] for _, rule in RULES]

    assert [message for message in messages if not message.startswith(REMEDIES)] == []
    assert [message for message in messages if "\n" in message or message.endswith(".")] == []


def test_every_rule_is_tried() -> None:
    """In tests/api/corpus/refused/, at the same field."""
    tried = [(re.sub(r"\[[^]]*\]", "[]", name), part) for case in REFUSED for name, part in case.refused.items()]

    for path, rule in RULES:
        assert any(name == path and part in rule["message"] for name, part in tried), f"{path}: {rule['message']}"


def test_corpus_expects_words_for_every_refusal() -> None:
    for case in REFUSED:
        assert case.refused, case.title
        assert all(isinstance(part, str) for part in case.refused.values()), f"{case.title}: quote the message"


def test_databases_that_are_enough_alone_are_enough_for_the_filter_pod() -> None:
    """Or a MailFilter would be accepted whose pods never become ready."""
    signatures = next(schema for path, schema in NODES if path == "spec.antivirus.signatures")
    (rule,) = (rule for rule in signatures["x-kubernetes-validations"] if "finds something" in rule["message"])
    extensions = set(re.findall(r"[a-z0-9]{2,}", rule["rule"].partition("[.](")[2].partition(")")[0]))
    counted = set(re.findall(r"[*][.]([a-z0-9]+)", FETCHED_DATABASE.read_text()))

    assert "ndb" in extensions
    assert extensions <= counted


def test_enums_of_the_status_hold_only_what_can_be() -> None:
    enums = {path: schema["enum"] for path, schema in NODES if "enum" in schema}
    purposes = {"DKIM", "SPF", "DMARC"}
    found = {published.PUBLISHED, published.MISSING, published.DIFFERENT, published.DUPLICATE, published.UNKNOWN}

    assert enums["status.domains[].keys[].state"] == list(keys.STATES)
    assert enums["status.domains[].keys[].algorithm"] == list(keys.ALGORITHMS)
    assert set(enums["status.dnsRecords[].state"]) == found | {keys.RETIRING}
    assert set(enums["status.dnsRecords[].purpose"]) == purposes


def test_names_are_those_of_the_operator() -> None:
    spec = CRD["spec"]

    assert (spec["group"], VERSION["name"], spec["names"]["kind"], spec["names"]["plural"]) == (
        names.GROUP,
        names.VERSION,
        names.KIND,
        names.PLURAL,
    )
    assert CRD["metadata"]["name"] == f"{names.PLURAL}.{names.GROUP}"
    assert set(VERSION["subresources"]) == {"status", "scale"}


def test_columns_and_selectable_fields_exist() -> None:
    paths = {f".{path}" for path, _ in NODES}
    scaled = VERSION["subresources"]["scale"]
    columns = {re.sub(r"\[\?.*\]", "[]", column["jsonPath"]) for column in VERSION["additionalPrinterColumns"]}

    assert {field["jsonPath"] for field in VERSION["selectableFields"]} <= paths
    assert set(scaled.values()) <= paths
    assert len(VERSION["selectableFields"]) <= 8
    assert columns - {".metadata.creationTimestamp"} <= paths


@pytest.mark.parametrize(
    "name",
    [
        names.metrics_configmap("mx"),
        names.workers_configmap("mx"),
        names.modules_configmap("mx"),
        names.clamav_configmap("mx"),
        names.files_configmap("mx"),
        names.credentials("mx"),
        names.freshclam_secret("mx"),
        names.controller("mx"),
        names.keyring("mx"),
        names.dkim_secret("mx", "example.com", "r0"),
        names.LEASE,
    ],
)
def test_no_mailfilter_is_called_as_an_object_of_another(name: str) -> None:
    assert any(
        case.body["metadata"]["name"] == name and "metadata.name" in case.refused for case in cases.load_refused()
    )


def agreement(schema: dict[str, Any], cls: Any, path: str = "spec") -> Iterator[str]:
    """Yield every difference between an object of the schema and the dataclass that it is read into."""
    fields = {api.camel_case(field.name): field for field in dataclasses.fields(cls)}
    properties, hints = schema["properties"], get_type_hints(cls)
    for name in sorted(set(fields) ^ set(properties)):
        yield f"{path}.{name} is only in {cls.__name__ if name in fields else 'the schema'}"
    for name in sorted(set(fields) & set(properties)):
        here, field, child = f"{path}.{name}", fields[name], properties[name]
        if (name in schema.get("required", [])) != (field.default is dataclasses.MISSING):
            yield f"{here} is required on one side only"
        elif name not in schema.get("required", []) and not is_same_default(child, field.default):
            yield f"{here} has the default {child.get('default')!r} in the schema, {field.default!r} in the class"
        yield from type_agreement(child, hints[field.name], here)


def is_same_default(schema: dict[str, Any], default: Any) -> bool:
    """Compare what the schema stores with what the class assumes; an object of defaults is what {} stands for."""
    stored = schema.get("default")
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        return stored in ({}, None) and bool(default == type(default)())
    if "additionalProperties" in schema:
        return bool((stored, default) == ({}, ()))
    return bool(stored == (list(default) if isinstance(default, tuple) else default))


def type_agreement(schema: dict[str, Any], hint: Any, path: str) -> Iterator[str]:
    """Yield every difference between the type of a field in the schema and in the class."""
    arms = [arm for arm in get_args(hint) if arm is not NoneType]
    if dataclasses.is_dataclass(hint):
        yield from agreement(schema, hint, path)
    elif hint == api.Texts:
        if schema.get("additionalProperties", {}).get("type") != "string":
            yield f"{path} is no map of texts in the schema"
    elif get_origin(hint) is tuple:
        yield from type_agreement(schema["items"], arms[0], f"{path}[]")
    elif get_origin(hint) is Literal:
        if set(schema.get("enum", ())) != set(arms):
            yield f"{path} allows {schema.get('enum')} in the schema, {arms} in the class"
    elif len(arms) == 1:
        yield from type_agreement(schema, arms[0], path)
    elif scalar_type(schema) not in ((hint, *arms) if hint is not str else (str, Decimal)):
        yield f"{path} is {scalar_type(schema)} in the schema, {hint} in the class"


def scalar_type(schema: dict[str, Any]) -> type:
    """Class that a value of the schema is read into; int-or-string is a score or a quantity."""
    if schema.get("x-kubernetes-int-or-string"):
        return Decimal
    return {"string": str, "integer": int, "boolean": bool}[schema["type"]]


def test_classes_agree_with_the_schema() -> None:
    assert list(agreement(ROOT["properties"]["spec"], api.Spec)) == []

"""The keyring holds what is needed to restore a key Secret, and no damage to it stops a pass."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.build.secrets import build_keyring
from mailfilter_operator.dkim.keyring import build_keyring_index, find_places, parse_keyring
from mailfilter_operator.dkim.keys import DkimKey

COM, ORG = samples.dkim_key("example.com"), samples.dkim_key("example.org")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)


def keyring(*keys: DkimKey) -> dict[str, Any]:
    return build_keyring(samples.valid(), keys)


def index_of(secret: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(secret["metadata"]["annotations"][names.ANNOTATION_KEYS])
    return found


def with_index(text: str, data: Any = None) -> dict[str, Any]:
    return {"metadata": {"annotations": {names.ANNOTATION_KEYS: text}}, "data": data}


def test_keys_survive_the_keyring() -> None:
    assert parse_keyring(keyring(COM, ORG)) == (COM, ORG)


def test_files_are_those_that_the_configuration_names() -> None:
    data = keyring(COM)["data"]

    assert {name: base64.b64decode(content) for name, content in data.items()} == {COM.file_name: COM.private_pem}


def test_index_holds_what_is_public_alone() -> None:
    ((place, entry),) = index_of(keyring(COM)).items()

    assert "private_pem" not in entry
    assert "PRIVATE" not in repr(entry)
    assert place == "example.com/r0"


def test_index_of_an_earlier_release_is_read() -> None:
    """Its entries say domain and slot themselves."""
    secret = keyring(COM)
    index = index_of(secret)
    index["example.com/r0"] |= {"domain": "example.com", "slot": "r0"}

    assert parse_keyring({**secret, **with_index(json.dumps(index), secret["data"])}) == (COM,)


def test_domain_that_no_longer_signs_stays_in_the_index_without_its_key() -> None:
    after = keyring(dataclasses.replace(COM, state="Retired"), ORG)

    assert list(index_of(after)) == ["example.com/r0", "example.org/r0"]
    assert list(after["data"]) == [ORG.file_name]
    assert parse_keyring(after) == (ORG,)


def test_new_key_takes_the_place_of_the_one_before_in_its_slot() -> None:
    new = samples.dkim_key("example.com", seed="example.org", selector="mf2")

    assert parse_keyring(keyring(new)) == (new,)


def test_same_keys_give_the_same_bytes_whatever_was_before() -> None:
    once = keyring(COM, ORG)

    assert keyring(COM, ORG) == once
    assert build_keyring_index((COM, ORG)) == build_keyring_index((ORG, COM))


@pytest.mark.parametrize("secret", [None, {}, {"metadata": {}}, {"metadata": {"annotations": None}, "data": None}])
def test_no_keyring_has_no_keys(secret: Any) -> None:
    assert parse_keyring(secret) == ()


@pytest.mark.parametrize(
    "changes",
    [
        *({name: None} for name in ("domain", "slot", "selector", "algorithm", "bits", "state", "created")),
        {"domain": 7},
        {"domain": "é.test"},
        {"domain": "example.org"},
        {"slot": "r1"},
        {"selector": ["mf1"]},
        {"bits": "1024"},
        {"bits": True},
        {"file": "other.key"},
        {"file": ["list"]},
        {"file": None},
    ],
    ids=str,
)
def test_damaged_entry_is_left_out_and_the_others_are_read(changes: dict[str, Any]) -> None:
    secret = keyring(COM, ORG)
    index = index_of(secret)
    index["example.com/r0"] |= changes

    assert parse_keyring({**secret, **with_index(json.dumps(index), secret["data"])}) == (ORG,)


@pytest.mark.parametrize("field", ["selector", "file", "signing_since"])
def test_entry_that_lacks_a_field_is_left_out(field: str) -> None:
    secret = keyring(COM)
    index = index_of(secret)
    del index["example.com/r0"][field]

    assert parse_keyring(with_index(json.dumps(index), secret["data"])) == ()


@pytest.mark.parametrize("content", ["", "!", "é", base64.b64encode(b"text").decode(), None, 7])
def test_damaged_key_is_left_out(content: Any) -> None:
    secret = keyring(COM)

    assert parse_keyring({**secret, "data": {COM.file_name: content}}) == ()


def test_key_under_the_file_of_another_is_left_out() -> None:
    data = keyring(COM, ORG)["data"]
    swapped = {COM.file_name: data[ORG.file_name], ORG.file_name: data[COM.file_name]}

    assert parse_keyring({**keyring(COM, ORG), "data": swapped}) == ()


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '{"a": 1}', '{"a": []}', "[" * 100_000, "9" * 5000])
def test_damaged_index_has_no_keys(text: str) -> None:
    assert parse_keyring(with_index(text)) == ()
    assert find_places(with_index(text)) == ()


@given(st.one_of(st.text(), JSON.map(json.dumps)), st.none() | st.dictionaries(st.text(), st.text()))
def test_no_index_and_no_data_whatever_stop_a_pass(text: str, data: Any) -> None:
    assert parse_keyring(with_index(text, data)) == ()


@given(st.dictionaries(st.sampled_from(list(index_of(keyring(COM))["example.com/r0"])), JSON))
def test_no_entry_whatever_stops_a_pass(changes: dict[str, Any]) -> None:
    secret = keyring(COM)
    index = {"example.com/r0": index_of(secret)["example.com/r0"] | changes}

    for key in parse_keyring(with_index(json.dumps(index), secret["data"])):
        assert key.file_name == COM.file_name

"""A key and its Secret, in both directions."""

from __future__ import annotations

import base64
import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import jsonpatch
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.dkim.key_secrets import (
    build_key_repairs,
    build_key_secret,
    is_our_key_secret,
    parse_key_secret,
)
from mailfilter_operator.dkim.keys import DkimKey, build_selector, read_public_der
from mailfilter_operator.errors import Conflict

KEY = samples.dkim_key("example.com")
OTHER = samples.dkim_key("example.com", seed="example.org")
Secret = dict[str, Any]


def secret(key: DkimKey = KEY) -> Secret:
    return copy.deepcopy(dict(build_key_secret("mx", "mail", key)))


@pytest.mark.parametrize(
    "key", [KEY, dataclasses.replace(KEY, signing_since=samples.LATER), dataclasses.replace(KEY, slot="r2")]
)
def test_key_survives_its_secret(key: DkimKey) -> None:
    assert parse_key_secret("mx", key.slot, secret(key)) == key


def test_secret_is_immutable_and_without_owner_so_that_it_outlives_the_mailfilter() -> None:
    made = secret()

    assert made["immutable"] is True
    assert "ownerReferences" not in made["metadata"]
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("mx-dkim-a379a6f6ee-r0", "mail")
    assert is_our_key_secret("mx", made["metadata"])


def test_private_key_is_nowhere_but_in_the_data() -> None:
    made = secret()
    data = made.pop("data")

    assert base64.b64decode(data[names.PRIVATE_KEY]) == KEY.private_pem
    assert "PRIVATE" not in repr(made)


def test_repr_of_a_key_holds_no_private_byte() -> None:
    shown = repr(KEY)

    assert "example.com" in shown
    assert "PRIVATE" not in shown
    assert not any(line in shown for line in KEY.private_pem.decode().splitlines()[1:-1])


def test_public_half_is_subject_public_key_info() -> None:
    public = serialization.load_der_public_key(KEY.public_der)

    assert isinstance(public, rsa.RSAPublicKey)
    assert public.key_size == 1024


def test_file_changes_with_key_domain_and_slot() -> None:
    keys = [KEY, OTHER, dataclasses.replace(KEY, domain="example.net"), dataclasses.replace(KEY, slot="r1")]

    assert len({key.file_name for key in keys}) == 4
    assert dataclasses.replace(KEY, selector="x", state="Retired").file_name == KEY.file_name


def pem(private: Any, encryption: serialization.KeySerializationEncryption | None = None) -> bytes:
    made: bytes = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption or serialization.NoEncryption()
    )
    return made


BEGIN, *_, END = KEY.private_pem.splitlines()
RSA = serialization.load_pem_private_key(KEY.private_pem, password=None)
UNUSABLE = {
    "empty": b"",
    "text": b"nothing",
    "cut": KEY.private_pem[: len(KEY.private_pem) // 2],
    "elliptic curve": pem(ec.derive_private_key(7, ec.SECP256R1())),
    "encrypted": pem(RSA, serialization.BestAvailableEncryption(b"secret")),
    "unknown algorithm": b"\n".join([BEGIN, b"MA4CAQAwBwYFKwYBAwUEAA==", END]),
    "public": RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ),
}


@pytest.mark.parametrize("content", UNUSABLE.values(), ids=UNUSABLE)
def test_what_is_no_plain_private_key_is_unusable(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_public_der(content)


@pytest.mark.parametrize("content", UNUSABLE.values(), ids=UNUSABLE)
def test_secret_without_a_usable_key_is_a_conflict(content: bytes) -> None:
    made = secret()
    made["data"][names.PRIVATE_KEY] = base64.b64encode(content).decode()

    with pytest.raises(Conflict, match="holds no usable private key") as conflict:
        parse_key_secret("mx", "r0", made)
    assert content.decode(errors="replace") not in conflict.value.message or not content


def damaged(change: Callable[[Secret], object]) -> Secret:
    made = secret()
    change(made)
    return made


FACTS = base64.b64decode(secret()["data"][names.KEY_FACTS])


def with_facts(text: bytes) -> Secret:
    return damaged(lambda s: s["data"].update({names.KEY_FACTS: base64.b64encode(text).decode()}))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (damaged(lambda s: s.pop("data")), "lacks private.key"),
        (damaged(lambda s: s.update(data=None)), "lacks private.key"),
        (damaged(lambda s: s["data"].pop(names.KEY_FACTS)), "lacks key.json"),
        (damaged(lambda s: s["data"].update({names.KEY_FACTS: "!"})), "not what belongs to one"),
        (with_facts(b"[]"), "not what belongs to one"),
        (with_facts(b"{}"), "not what belongs to one"),
        (with_facts(FACTS.replace(b"1024", b'"many"')), "not what belongs to one"),
        (with_facts(FACTS.replace(b'"mf1"', b'"Mf_1"')), "not what belongs to one"),
        (damaged(lambda s: s["data"].update({names.PRIVATE_KEY: "!"})), "holds no usable private key"),
        (
            with_facts(FACTS.replace(b"example.com", b"example.net")),
            "says that it belongs to the domain example.net, which has another name",
        ),
        (damaged(lambda s: s["metadata"].pop("labels")), "is not a key Secret of the MailFilter mx"),
        (
            damaged(lambda s: s["metadata"].update(labels=names.labels("mx-2", "dkim"))),
            "is not a key Secret of the MailFilter mx",
        ),
        (
            damaged(lambda s: s["metadata"].update(labels=names.labels("mx", "filter"))),
            "is not a key Secret of the MailFilter mx",
        ),
        (
            damaged(lambda s: s["metadata"].update(ownerReferences=[{"kind": "Job", "controller": True}])),
            "is not a key Secret of the MailFilter mx",
        ),
    ],
)
def test_secret_that_is_not_as_it_was_made_is_a_conflict(made: Secret, why: str) -> None:
    with pytest.raises(Conflict, match="Secret mx-dkim-a379a6f6ee-r0 exists") as conflict:
        parse_key_secret("mx", "r0", made)
    assert why in conflict.value.message


AROUND: dict[str, Callable[[Secret], object]] = {
    "selector": lambda s: s["metadata"]["annotations"].update({names.ANNOTATION_SELECTOR: "evil"}),
    "state": lambda s: s["metadata"]["annotations"].update({names.ANNOTATION_STATE: "Gone"}),
    "a state without its time": lambda s: s["metadata"]["annotations"].update({names.ANNOTATION_STATE: "Retired"}),
    "the state of a key that waits": lambda s: s["metadata"]["annotations"].update(
        {names.ANNOTATION_STATE: "Pending", names.ANNOTATION_LEFT_SINCE: samples.NOW}
    ),
    "the state of a key that has signed": lambda s: s["metadata"]["annotations"].update(
        {names.ANNOTATION_STATE: "Retiring"}
    ),
    "time": lambda s: s["metadata"]["annotations"].update({names.ANNOTATION_SIGNING_SINCE: "yesterday"}),
    "another time": lambda s: s["metadata"]["annotations"].update({names.ANNOTATION_SIGNING_SINCE: samples.LATER}),
    "request": lambda s: s["metadata"]["annotations"].update({names.ANNOTATION_ROTATION_ID: "x/"}),
    "revocation": lambda s: s["metadata"]["annotations"].update({names.ANNOTATION_REVOKED: "true"}),
    "no annotations": lambda s: s["metadata"].pop("annotations"),
    "a label": lambda s: s["metadata"]["labels"].pop(names.LABEL_COMPONENT),
    "no labels": lambda s: s["metadata"].pop("labels"),
    "labels of another": lambda s: s["metadata"].update(labels=names.labels("other", "dkim")),
    "an owner": lambda s: s["metadata"].update(ownerReferences=[{"kind": "Job", "name": "x", "uid": "1"}]),
}


@pytest.mark.parametrize("change", AROUND.values(), ids=AROUND)
def test_what_is_around_a_key_is_put_back_with_the_keyring_as_witness(change: Callable[[Secret], object]) -> None:
    made = damaged(change)
    assert parse_key_secret("mx", "r0", made, witness=KEY) == KEY
    repairs = build_key_repairs(secret(), made)
    repaired = jsonpatch.apply_patch(made, repairs)
    assert repaired == secret()
    assert {operation["path"].split("/")[1] for operation in repairs} == {"metadata"}


def test_a_key_secret_as_it_was_made_needs_no_repair() -> None:
    assert build_key_repairs(secret(), secret()) == []


def test_another_key_is_no_witness() -> None:
    made = damaged(AROUND["no labels"])
    with pytest.raises(Conflict, match="is not a key Secret of the MailFilter mx"):
        parse_key_secret("mx", "r0", made, witness=OTHER)


@pytest.mark.parametrize("name", ["state", "time"])
def test_without_a_witness_state_and_time_are_those_of_a_new_key(name: str) -> None:
    found = parse_key_secret("mx", "r0", damaged(AROUND[name]))
    assert (found.state, found.signing_since in (KEY.created, KEY.signing_since)) == ("Active", True)


def test_owner_that_controls_nothing_is_no_conflict() -> None:
    made = damaged(lambda s: s["metadata"].update(ownerReferences=[{"kind": "Application", "name": "x"}]))

    assert parse_key_secret("mx", "r0", made) == KEY


def test_selector_is_the_day_and_the_hash_of_the_key() -> None:
    selectors = {build_selector(day, key.public_der) for day in (samples.NOW, "2026-11-24") for key in (KEY, OTHER)}

    assert len(selectors) == 4
    assert all(selector.startswith("mf2026112") and len(selector) == 15 for selector in selectors)

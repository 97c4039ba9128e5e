"""What a MailFilter names and others own: found, or an error that names the field and no value."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.unit import samples

from mailfilter_operator.api import SecretKeyReference
from mailfilter_operator.errors import InvalidReference
from mailfilter_operator.references import References, find_configmap_names, find_secret_names


def secret(**data: bytes) -> dict[str, Any]:
    return {"data": {key: base64.b64encode(value).decode() for key, value in data.items()}}


FOUND = References(
    {"senders": {"data": {"from": "a@b.test"}}, "empty": {}},
    {"own": secret(text=b"hidden \xc3\xa4\n", nothing=b"", binary=b"hidden\xff", control=b"hidden\x00")},
)


def test_text_of_a_secret_is_read() -> None:
    assert FOUND.read_secret("spec.x", SecretKeyReference("own", "text")) == "hidden ä\n"


def test_texts_of_a_configmap_are_read() -> None:
    assert FOUND.read_configmap("spec.x", "senders") == {"from": "a@b.test"}
    assert FOUND.read_configmap("spec.x", "empty") == {}


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("other", "text", "there is no Secret other in this namespace; create it"),
        ("own", "other", "the Secret own has no value under the key other; add it"),
        ("own", "nothing", "the Secret own has no value under the key nothing"),
        ("own", "binary", "the key binary of the Secret own holds no text in UTF-8"),
        ("own", "control", "the key control of the Secret own holds no text in UTF-8"),
    ],
)
def test_what_a_secret_does_not_have_is_said_with_the_field(name: str, key: str, message: str) -> None:
    with pytest.raises(InvalidReference) as refused:
        FOUND.read_secret("spec.x", SecretKeyReference(name, key))

    assert refused.value.message.startswith(f"spec.x: {message}")
    assert (refused.value.reason, refused.value.field) == ("InvalidReference", "spec.x")
    assert "hidden" not in refused.value.message


def test_missing_configmap_is_said_with_the_field() -> None:
    with pytest.raises(InvalidReference, match=r"^spec\.x: there is no ConfigMap other in this namespace; create it"):
        FOUND.read_configmap("spec.x", "other")


def test_secrets_are_not_shown() -> None:
    assert "aGlkZGVu" not in repr(FOUND)


def test_names_of_everything_that_is_referred_to_are_known() -> None:
    spec = samples.mailfilter(
        lists={"allow": {"configMapRef": {"name": "a"}}, "deny": {"configMapRef": {"name": "b"}}},
        workers={"controller": {"passwordSecretRef": {"name": "c", "key": "k"}}},
        antivirus={"signatures": {"proxySecretRef": {"name": "e"}, "caBundleRef": {"name": "f", "key": "k"}}},
        config={"secretRefs": [{"name": name, "key": "k", "path": f"maps/{name}"} for name in "dc"]},
    ).spec

    assert find_configmap_names(spec) == {"a", "b"}
    assert find_secret_names(spec) == {"c", "d", "e", "f"}
    assert find_configmap_names(samples.mailfilter().spec) == find_secret_names(samples.mailfilter().spec) == set()

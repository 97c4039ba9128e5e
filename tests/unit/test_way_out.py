"""Proxy and certificates of freshclam: what is taken, and what is refused with field and remedy."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.api import SecretKeyReference, SecretReference, Signatures
from mailfilter_operator.build import build
from mailfilter_operator.credentials import is_salt
from mailfilter_operator.errors import InvalidReference
from mailfilter_operator.references import References
from mailfilter_operator.way_out import CERTIFICATES, PROXY, read_way_out

KEYS = (samples.dkim_key(),)
URL = "http://proxy.example.com:3128"
BLOCK = "-----BEGIN CERTIFICATE-----\nY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"


def read(texts: Mapping[str, str | bytes], *, proxy: bool = False, certificates: bool = False) -> Mapping[str, str]:
    """What is made of a Secret `own`."""
    signatures = Signatures(
        proxy_secret_ref=SecretReference("own") if proxy else None,
        ca_bundle_ref=SecretKeyReference("own", "ca.crt") if certificates else None,
    )
    encoded = {
        key: base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()
        for key, text in texts.items()
    }
    return read_way_out(signatures, References({}, {"own": {"data": encoded}}))


def test_without_references_there_is_nothing() -> None:
    assert read({"url": URL, "ca.crt": BLOCK}) == {}


@pytest.mark.parametrize("url", [URL, f"{URL}/", "proxy.example.com:3128", f"{URL}\n"])
def test_a_proxy_that_asks_for_nothing(url: str) -> None:
    assert read({"url": url}, proxy=True) == {PROXY: "HTTPProxyServer http://proxy.example.com\nHTTPProxyPort 3128\n"}


def test_a_proxy_that_asks_for_a_password() -> None:
    """A line end does not count: kubectl create secret --from-file leaves one."""
    given: dict[str, str | bytes] = {
        "url": "http://[2001:db8::1]:8080",
        "username": "filter\n",
        "password": "p:%41#'\"\\\n",
        "other": b"\xff",
    }

    assert read(given, proxy=True)[PROXY].splitlines() == [
        "HTTPProxyServer http://[2001:db8::1]",
        "HTTPProxyPort 8080",
        "HTTPProxyUsername filter",
        "HTTPProxyPassword p:%41#'\"\\",
    ]


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"url": "proxy.example.com"},
        {"url": "https://proxy.example.com:3128"},
        {"url": "http://user:hidden-word@proxy.example.com:3128"},
        {"url": "http://proxy.example.com:65536"},
        {"url": "http://proxy.example.com:3128/path"},
        {"url": f"{URL}\nOnUpdateExecute hidden-word"},
        {"url": b"\xff"},
    ],
)
def test_an_address_that_is_none_is_said_and_not_shown(texts: Mapping[str, str | bytes]) -> None:
    with pytest.raises(InvalidReference) as refused:
        read(texts, proxy=True)

    assert refused.value.field == "spec.antivirus.signatures.proxySecretRef"
    assert "the key url of the Secret own is not the address of a proxy; write it" in refused.value.message
    assert "hidden-word" not in refused.value.message


@pytest.mark.parametrize(
    ("texts", "key"),
    [
        ({"username": "filter"}, "password"),
        ({"password": "hidden-word"}, "username"),
        ({"username": "", "password": "hidden-word"}, "username"),
        ({"username": "a:b", "password": "hidden-word"}, "username"),
        ({"username": "a", "password": "hidden-word two"}, "password"),
        ({"username": "a", "password": "hidden-word\nOnUpdateExecute x"}, "password"),
        ({"username": "a", "password": '"hidden-word"'}, "password"),
        ({"username": "a", "password": "hidden-word\u00e9"}, "password"),
        ({"username": "a", "password": "hidden-word" * 30}, "password"),
    ],
)
def test_a_name_or_password_that_freshclam_would_misread_is_said_and_not_shown(
    texts: Mapping[str, str], key: str
) -> None:
    with pytest.raises(InvalidReference) as refused:
        read({"url": URL, **texts}, proxy=True)

    assert (
        f"the key {key} of the Secret own is missing or cannot be handed to freshclam; write" in refused.value.message
    )
    assert "hidden-word" not in refused.value.message


def test_a_secret_that_is_missing_is_said() -> None:
    with pytest.raises(
        InvalidReference, match=r"^spec\.antivirus\.signatures\.proxySecretRef: there is no Secret other"
    ):
        read_way_out(Signatures(proxy_secret_ref=SecretReference("other")), References())
    with pytest.raises(InvalidReference, match=r"^spec\.antivirus\.signatures\.caBundleRef: there is no Secret other"):
        read_way_out(Signatures(ca_bundle_ref=SecretKeyReference("other", "k")), References())


def test_of_a_bundle_only_the_certificates_are_taken() -> None:
    assert read({"ca.crt": f"# company\r\n{BLOCK}{KEY}{BLOCK}"}, certificates=True) == {CERTIFICATES: 2 * BLOCK}


@pytest.mark.parametrize("text", [KEY, "no certificate", BLOCK.replace("Y2Vy", "Y2V"), BLOCK * 4000])
def test_what_is_no_bundle_is_said(text: str) -> None:
    with pytest.raises(InvalidReference) as refused:
        read({"ca.crt": text}, certificates=True)

    assert refused.value.field == "spec.antivirus.signatures.caBundleRef"
    assert "the key ca.crt of the Secret own holds no certificates in PEM" in refused.value.message


def test_freshclam_cannot_guess_what_is_in_files_of_others() -> None:
    """It mounts the manifest with the salted hashes of all files, and is the one that reads what the Internet sends."""
    valid = replace(samples.valid(), way_out={"freshclam/proxy.conf": "HTTPProxyPassword unseen\n"})
    configuration = samples.render(valid, KEYS)
    made = {
        item["metadata"]["name"]: item
        for item in build(valid, samples.plan(valid, KEYS), KEYS)
        if item["kind"] == "Secret"
    }
    salts = [
        base64.b64decode(made[name]["data"]["salt"]).decode()
        for name in (names.freshclam_secret("mx"), names.credentials("mx"))
    ]
    digests = {path: digest for digest, _, path in (line.split("  ") for line in configuration.manifest.splitlines())}

    def salted(path: str, salt: str) -> str:
        text = {**configuration.credentials, **configuration.freshclam}[path]
        return "salted:" + hashlib.sha256((salt + text).encode()).hexdigest()

    assert all(is_salt(salt) for salt in salts)
    assert [digests["freshclam/proxy.conf"] == salted("freshclam/proxy.conf", salt) for salt in salts] == [True, False]
    of_others = [path for path in configuration.credentials if path in digests]
    assert of_others
    assert {salted(path, salts[0]) == digests[path] for path in of_others} == {False}
    assert {salted(path, salts[1]) == digests[path] for path in of_others} == {True}

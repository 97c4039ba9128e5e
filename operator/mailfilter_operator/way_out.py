"""How freshclam gets out of the cluster: the proxy and the certificates of Secrets that a MailFilter names.

What comes out are files that freshclam's container alone sees. Values of Secrets are in no message.
"""

import base64
import binascii
import re
from collections.abc import Mapping

from mailfilter_operator.api import SecretKeyReference, SecretReference, Signatures
from mailfilter_operator.errors import InvalidReference
from mailfilter_operator.references import References

PROXY = "freshclam/proxy.conf"
"""Lines of freshclam.conf."""
CERTIFICATES = "freshclam/ca.pem"

_FIELD = "spec.antivirus.signatures"
_PROXY_URL = re.compile(r"(http://)?(?P<host>[A-Za-z0-9][-A-Za-z0-9.]*|\[[0-9A-Fa-f:]+\]):(?P<port>[1-9][0-9]{0,4})/?")
_WORD = re.compile(r"[!-~]{1,256}")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")
_LARGEST_BUNDLE = 256 * 1024
"""Bytes; the certificates that browsers trust take 220 KiB."""


def read_way_out(signatures: Signatures, references: References) -> Mapping[str, str]:
    """Files by path, none without proxy and certificates. Raises InvalidReference that names field and remedy."""
    files = {}
    if signatures.proxy_secret_ref is not None:
        files[PROXY] = _read_proxy(signatures.proxy_secret_ref, references)
    if signatures.ca_bundle_ref is not None:
        files[CERTIFICATES] = _read_certificates(signatures.ca_bundle_ref, references)
    return files


def _read_proxy(reference: SecretReference, references: References) -> str:
    """The proxy of a Secret with the keys `url` and, for one that asks for them, `username` and `password`.

    freshclam hands name and password to libcurl in one text with a colon between them.
    """
    path = f"{_FIELD}.proxySecretRef"
    texts = {key: text.strip("\r\n") for key, text in references.read_secret_texts(path, reference.name).items()}
    found = _PROXY_URL.fullmatch(texts.get("url", ""))
    if found is None or int(found["port"]) > 65535:
        raise InvalidReference(
            path,
            f"the key url of the Secret {reference.name} is not the address of a proxy; write it with its port and "
            "without a name and password, for example http://proxy.example.com:3128",
        )
    lines = [f"HTTPProxyServer http://{found['host']}", f"HTTPProxyPort {found['port']}"]
    if "username" in texts or "password" in texts:
        for key in ("username", "password"):
            _require_word(path, reference.name, key, texts.get(key, ""))
        lines += [f"HTTPProxyUsername {texts['username']}", f"HTTPProxyPassword {texts['password']}"]
    return "".join(f"{line}\n" for line in lines)


def _require_word(path: str, secret: str, key: str, value: str) -> None:
    if not _WORD.fullmatch(value) or value[0] in "\"'" or (key == "username" and ":" in value):
        without = "blanks and colons" if key == "username" else "blanks"
        raise InvalidReference(
            path,
            f"the key {key} of the Secret {secret} is missing or cannot be handed to freshclam; write at most 256 "
            f"characters of ASCII without {without}, with no quote at the beginning",
        )


def _read_certificates(reference: SecretKeyReference, references: References) -> str:
    path = f"{_FIELD}.caBundleRef"
    text = references.read_secret(path, reference)
    blocks = _CERTIFICATE.findall(text)
    if not blocks or not all(_is_base64(block) for block in blocks) or len(text) > _LARGEST_BUNDLE:
        raise InvalidReference(
            path,
            f"the key {reference.key} of the Secret {reference.name} holds no certificates in PEM (BEGIN CERTIFICATE), "
            "or more than 256 KiB; write those of the authorities that signed the servers' certificates",
        )
    # Nothing but the certificates: somebody may have put a private key beside them.
    return "".join(f"-----BEGIN CERTIFICATE-----\n{block.strip()}\n-----END CERTIFICATE-----\n" for block in blocks)


def _is_base64(block: str) -> bool:
    try:
        return bool(base64.b64decode("".join(block.split()), validate=True))
    except (binascii.Error, ValueError):
        return False

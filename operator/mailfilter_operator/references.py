"""Secrets and ConfigMaps that a MailFilter names and others own, as they were read.

What is missing or cannot be used is an InvalidReference that names the field. Values of Secrets are in no message.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mailfilter_operator.api import Manifest, SecretFile, SecretKeyReference, Spec
from mailfilter_operator.errors import InvalidReference


@dataclass(frozen=True)
class References:
    """What was found, by name; what was not found is not there."""

    configmaps: Mapping[str, Manifest] = field(default_factory=dict)
    secrets: Mapping[str, Manifest] = field(default_factory=dict, repr=False)

    def read_configmap(self, path: str, name: str) -> Mapping[str, str]:
        """The texts of a ConfigMap that the field *path* names. Raises InvalidReference."""
        if name not in self.configmaps:
            raise InvalidReference(
                path, f"there is no ConfigMap {name} in this namespace; create it, or name another one"
            )
        return self.configmaps[name].get("data") or {}

    def read_secret(self, path: str, reference: SecretKeyReference | SecretFile) -> str:
        """The text under a key of a Secret that the field *path* names. Raises InvalidReference."""
        text = decode_text(self._read_value(path, reference))
        if text is None:
            raise InvalidReference(
                path,
                f"the key {reference.key} of the Secret {reference.name} holds no text in UTF-8; write it anew",
            )
        return text

    def read_secret_bytes(self, path: str, reference: SecretKeyReference) -> bytes:
        """The value under a key of a Secret that the field *path* names. Raises InvalidReference."""
        try:
            return base64.b64decode(self._read_value(path, reference), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidReference(
                path, f"the key {reference.key} of the Secret {reference.name} cannot be read; write it anew"
            ) from None

    def read_secret_texts(self, path: str, name: str) -> Mapping[str, str]:
        """All texts of a Secret that the field *path* names; what is no text is left out. Raises InvalidReference."""
        if name not in self.secrets:
            raise InvalidReference(path, f"there is no Secret {name} in this namespace; create it, or name another one")
        found = {key: decode_text(value) for key, value in (self.secrets[name].get("data") or {}).items()}
        return {key: text for key, text in found.items() if text is not None}

    def _read_value(self, path: str, reference: SecretKeyReference | SecretFile) -> str:
        name, key = reference.name, reference.key
        if name not in self.secrets:
            raise InvalidReference(path, f"there is no Secret {name} in this namespace; create it, or name another one")
        data = self.secrets[name].get("data") or {}
        if not data.get(key):
            raise InvalidReference(
                path, f"the Secret {name} has no value under the key {key}; add it, or name another key"
            )
        value: str = data[key]
        return value


def decode_text(encoded: str) -> str | None:
    """Text of a value of Secret data, None if it is not UTF-8 or holds control characters that no text has."""
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return None if re.search(r"[\x00-\x08\x0e-\x1f\x7f]", text) else text


def find_secret_names(spec: Spec) -> frozenset[str]:
    """Names of the Secrets that *spec* refers to."""
    references = (
        spec.workers.controller.password_secret_ref,
        spec.antivirus.signatures.proxy_secret_ref,
        spec.antivirus.signatures.ca_bundle_ref,
        *(domain.dkim.private_key_secret_ref for domain in spec.domains),
        *spec.config.secret_refs,
    )
    return frozenset(reference.name for reference in references if reference is not None)


def find_configmap_names(spec: Spec) -> frozenset[str]:
    """Names of the ConfigMaps that *spec* refers to."""
    references = (spec.lists.allow.config_map_ref, spec.lists.deny.config_map_ref)
    return frozenset(reference.name for reference in references if reference is not None)

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
        name, key = reference.name, reference.key
        if name not in self.secrets:
            raise InvalidReference(path, f"there is no Secret {name} in this namespace; create it, or name another one")
        data = self.secrets[name].get("data") or {}
        if not data.get(key):
            raise InvalidReference(
                path, f"the Secret {name} has no value under the key {key}; add it, or name another key"
            )
        text = decode_text(data[key])
        if text is None:
            raise InvalidReference(path, f"the key {key} of the Secret {name} holds no text in UTF-8; write it anew")
        return text


def decode_text(encoded: str) -> str | None:
    """Text of a value of Secret data, None if it is not UTF-8 or holds control characters that no text has."""
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return None if re.search(r"[\x00-\x08\x0e-\x1f\x7f]", text) else text


def find_secret_names(spec: Spec) -> frozenset[str]:
    """Names of the Secrets that *spec* refers to."""
    password = spec.workers.controller.password_secret_ref
    return frozenset({file.name for file in spec.config.secret_refs} | ({password.name} if password else set()))


def find_configmap_names(spec: Spec) -> frozenset[str]:
    """Names of the ConfigMaps that *spec* refers to."""
    references = (spec.lists.allow.config_map_ref, spec.lists.deny.config_map_ref)
    return frozenset(reference.name for reference in references if reference is not None)

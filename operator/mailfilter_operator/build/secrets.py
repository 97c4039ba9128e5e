"""The keyring, and the credentials: rendered files that hold secrets.

Key Secrets and the generated password are not built here: they are created once, and never applied over.
"""

import base64
from typing import Any

from mailfilter_operator import names
from mailfilter_operator.build.metadata import build_metadata, with_content_hash
from mailfilter_operator.dkim.keyring import build_keyring_data, build_keyring_index
from mailfilter_operator.dkim.keys import ACTIVE, DkimKey
from mailfilter_operator.plan import Plan
from mailfilter_operator.validate import ValidMailFilter


def build_keyring(valid: ValidMailFilter, keys: tuple[DkimKey, ...]) -> dict[str, Any]:
    """Secret with the files of those *keys* that sign."""
    annotations = {names.ANNOTATION_KEYS: build_keyring_index(keys)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": build_metadata(valid, names.keyring(valid.name), "keyring", annotations),
        "type": "Opaque",
        "data": build_keyring_data(key for key in keys if key.state == ACTIVE),
    }


def build_credentials(valid: ValidMailFilter, plan: Plan) -> dict[str, Any]:
    """Secret of the files that hold secrets, with the salt by which the manifest names them; also of those tried."""
    texts = {names.configmap_key(path): text for path, text in plan.configuration.credentials.items()}
    texts |= {names.candidate_key(path): text for path, text in plan.tried_credentials.items()}
    texts[names.SALT_KEY] = plan.configuration.salt
    return with_content_hash(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": build_metadata(valid, names.credentials(valid.name), "credentials"),
            "type": "Opaque",
            "data": {key: base64.b64encode(text.encode()).decode("ascii") for key, text in texts.items()},
        }
    )


def build_freshclam_secret(valid: ValidMailFilter, plan: Plan) -> dict[str, Any]:
    """Secret of what freshclam's container alone mounts, with a salt of its own."""
    texts = {names.configmap_key(path): text for path, text in plan.configuration.freshclam.items()}
    texts[names.SALT_KEY] = plan.configuration.freshclam_salt
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": build_metadata(valid, names.freshclam_secret(valid.name), "credentials"),
        "type": "Opaque",
        "data": {key: base64.b64encode(text.encode()).decode("ascii") for key, text in texts.items()},
    }


def build_password_secret(valid: ValidMailFilter, password: str) -> dict[str, Any]:
    """Secret of a generated password of the web interface. It goes with the MailFilter."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": build_metadata(valid, names.controller(valid.name), "controller"),
        "type": "Opaque",
        "data": {names.PASSWORD_KEY: base64.b64encode(password.encode()).decode("ascii")},
    }

"""The keyring. Key Secrets are not built here: they are created once, and never applied over."""

from typing import Any

from mailfilter_operator import names
from mailfilter_operator.api import Manifest
from mailfilter_operator.build.metadata import build_metadata
from mailfilter_operator.dkim.keyring import build_keyring_data, build_keyring_index
from mailfilter_operator.dkim.keys import DkimKey
from mailfilter_operator.validate import ValidMailFilter


def build_keyring(valid: ValidMailFilter, keys: tuple[DkimKey, ...], previous: Manifest | None) -> dict[str, Any]:
    """Secret with the files of the keys that sign; *previous* is the keyring as it was."""
    annotations = {names.ANNOTATION_KEYS: build_keyring_index(keys, previous)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": build_metadata(valid, names.keyring(valid.name), "keyring", annotations),
        "type": "Opaque",
        "data": build_keyring_data(keys),
    }

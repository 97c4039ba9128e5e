"""The environment as frozen Settings, read once when the process starts."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mailfilter_operator import names
from mailfilter_operator.errors import InvalidSpec

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Settings:
    """How this process runs; times in seconds."""

    image: str
    """Filter image of MailFilters that name none."""
    signatures_url: str
    """Where filters with the source Shared take their signatures from."""
    namespace: str
    """Where the Lease is."""
    identity: str
    """Holder of the Lease."""
    resync_seconds: float
    """Longest time until a MailFilter is looked at again without an event."""
    workers: int
    key_workers: int
    health_port: int


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises InvalidSpec naming the variable that is missing or wrong."""
    namespace = environment.get("POD_NAMESPACE") or _own_namespace()
    return Settings(
        image=_required(environment, "MAILFILTER_IMAGE", "name the filter image, as manifests/install.yaml does"),
        signatures_url=_address(environment, "MAILFILTER_SIGNATURES_URL", names.signatures_url(namespace)),
        namespace=namespace,
        identity=environment.get("POD_NAME") or f"{os.uname().nodename}-{os.getpid()}",
        resync_seconds=_positive(environment, "MAILFILTER_RESYNC_SECONDS", 600),
        workers=_count(environment, "MAILFILTER_WORKERS", 4),
        key_workers=_count(environment, "MAILFILTER_KEY_WORKERS", 2),
        health_port=_count(environment, "MAILFILTER_HEALTH_PORT", 8080),
    )


def _own_namespace() -> str:
    return _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.exists() else "mailfilter-system"


def _required(environment: Mapping[str, str], name: str, remedy: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise InvalidSpec(name, f"is not set; {remedy}")
    return value


def _address(environment: Mapping[str, str], name: str, default: str) -> str:
    value = environment.get(name) or default
    # What could end the line in freshclam.conf, or be another option there.
    if not re.fullmatch(r"https?://[-A-Za-z0-9.:\[\]]+(/[-A-Za-z0-9._~%/]*)?", value):
        raise InvalidSpec(name, f"{value!r} is not an address; write one like {default}")
    return value.rstrip("/")


def _positive(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = 0
    if not 0 < value < math.inf:
        raise InvalidSpec(name, f"{text!r} is not a positive number; correct it or leave it out")
    return value


def _count(environment: Mapping[str, str], name: str, default: int) -> int:
    value = _positive(environment, name, default)
    if value != int(value):
        raise InvalidSpec(name, f"{environment[name]!r} is not a positive whole number; correct it or leave it out")
    return int(value)

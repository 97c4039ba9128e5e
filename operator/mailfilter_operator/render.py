"""ValidMailFilter to configuration files, as text. Total: `validate` has refused whatever could not be rendered.

Equal input gives equal bytes, and a configuration has one name: the hash of the manifest, which holds the hash of
every file, those of the keys too.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import jinja2

from mailfilter_operator import names
from mailfilter_operator.dkim.keys import DkimKey
from mailfilter_operator.validate import ValidMailFilter

METRICS = ("local.d/groups.conf", "override.d/actions.conf")
WORKERS = tuple(f"override.d/worker-{worker}.inc" for worker in ("controller", "fuzzy", "normal", "proxy"))
MODULES = (
    "override.d/antivirus.conf",
    "override.d/classifier-bayes.conf",
    "override.d/dkim_signing.conf",
    "override.d/force_actions.conf",
    "override.d/fuzzy_check.conf",
    "override.d/logging.inc",
    "override.d/milter_headers.conf",
    "override.d/options.inc",
)
NEED_REDIS = (
    "bayes_expiry",
    "greylist",
    "history_redis",
    "known_senders",
    "neural",
    "neural_autolearn",
    "ratelimit",
    "replies",
    "reputation",
    "url_redirector",
)
"""Modules that remember in Redis; there is none, and without it each would complain at every start."""
CLAMAV = ("clamav/clamd.conf", "clamav/freshclam.conf")

Files = Mapping[str, str]
"""Path below the accepted configuration to text."""


@dataclass(frozen=True)
class Configuration:
    """All files of a filter pod, by the ConfigMap that holds them; `key_files` are in the keyring."""

    metrics: Files
    workers: Files
    modules: Files
    clamav: Files
    key_digests: Mapping[str, str]
    """SHA-256 of each private key's file: a pod takes no key that somebody changed in the keyring. It tells nothing
    of a key that has a hundred times its entropy."""

    @property
    def manifest(self) -> str:
        """One line per file, sorted by path: SHA-256, key in the volume, path."""
        public = {**self.metrics, **self.workers, **self.modules, **self.clamav}
        lines = [(path, _sha256(text), names.configmap_key(path)) for path, text in public.items()]
        lines += [(f"keys/{file}", digest, file) for file, digest in self.key_digests.items()]
        return "".join(f"{digest}  {key}  {path}\n" for path, digest, key in sorted(lines))

    @property
    def hash(self) -> str:
        """Name of this configuration."""
        return _sha256(self.manifest)


def render(valid: ValidMailFilter, keys: tuple[DkimKey, ...]) -> Configuration:
    """Write every configuration file for *valid*, signing with *keys*."""
    values = {
        "actions": valid.spec.actions,
        "metrics": valid.spec.metrics,
        "workers": valid.spec.workers,
        "logging": valid.spec.logging,
        "sign": valid.spec.dkim.sign,
        "signatures": valid.spec.antivirus.signatures,
        "limits": valid.limits,
        "keys": keys,
        "milter_port": names.MILTER_PORT,
        "controller_port": names.CONTROLLER_PORT,
        "clamd_socket": names.CLAMD_SOCKET,
        "signature_directory": names.SIGNATURE_DIRECTORY,
    }

    def files(paths: tuple[str, ...], directory: str = "") -> Files:
        return {path: _render(f"{directory}{path}", values) for path in paths}

    disabled = [f"override.d/{module}.conf" for module in NEED_REDIS]

    return Configuration(
        metrics=files(METRICS, "rspamd/"),
        workers=files(WORKERS, "rspamd/"),
        modules={
            **files(MODULES, "rspamd/"),
            **dict.fromkeys(disabled, _render("rspamd/override.d/disabled.conf", {})),
        },
        clamav=files(CLAMAV),
        key_digests={key.file_name: hashlib.sha256(key.private_pem).hexdigest() for key in keys},
    )


def _render(template: str, values: dict[str, Any]) -> str:
    return _environment().get_template(f"{template}.j2").render(values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mailfilter_operator"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - the output is configuration, quoted by the filters below
    )
    environment.filters["ucl"] = quote_ucl
    environment.filters["score"] = write_score
    return environment


def quote_ucl(value: Any) -> str:
    r"""A string, boolean or list of strings in rspamd's configuration language.

    UCL reads JSON strings. Braces and `$` are written as escapes, because rspamd expands its own template marks in the
    text of a file before UCL reads it, and UCL expands variables before it reads escapes.

    >>> print(quote_ucl('a "b" {{ c }} $DBDIR'))
    "a \"b\" \u007b\u007b c \u007d\u007d \u0024DBDIR"
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(quote_ucl(item) for item in value) + "]"
    text = json.dumps(str(value), ensure_ascii=False)
    return text.replace("{", "\\u007b").replace("}", "\\u007d").replace("$", "\\u0024")


def write_score(value: Decimal | str) -> str:
    """A score as rspamd reads it; null switches an action off."""
    return "null" if value == "Disabled" else format(Decimal(value).normalize(), "f")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

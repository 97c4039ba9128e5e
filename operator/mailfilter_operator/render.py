"""ValidMailFilter to configuration files, as text. Total: `validate` has refused whatever could not be rendered.

Equal input gives equal bytes, and a configuration has one name: the hash of the manifest, which holds the hash of
every file, those of the keys too.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jinja2

from mailfilter_operator import names
from mailfilter_operator.credentials import Secrets, derive_freshclam_salt
from mailfilter_operator.dkim.keys import DkimKey
from mailfilter_operator.policies import LIMITS_EXCEEDED, UNOFFICIAL_NAMES, list_policies
from mailfilter_operator.raw_text import NEED_REDIS, Files, RawText
from mailfilter_operator.signing import build_signed_probes
from mailfilter_operator.ucl import quote_ucl, write_score
from mailfilter_operator.validate import ValidMailFilter

METRICS = ("local.d/groups.conf", "override.d/actions.conf")
WORKERS = tuple(f"override.d/worker-{worker}.inc" for worker in ("fuzzy", "normal", "proxy"))
CONTROLLER = "override.d/worker-controller.inc"
"""Holds the password's hash, and so is among the credentials."""
EXPECTED = "probes/expected"
MODULES = (
    "override.d/antivirus.conf",
    "override.d/classifier-bayes.conf",
    "override.d/dkim_signing.conf",
    "override.d/force_actions.conf",
    "override.d/fuzzy_check.conf",
    "override.d/logging.inc",
    "override.d/mailfilter.conf",
    "override.d/milter_headers.conf",
    "override.d/multimap.conf",
    "override.d/options.inc",
    EXPECTED,
)
CLAMD = "clamav/clamd.conf"
CLAMAV = (CLAMD, "clamav/freshclam.conf")
EXCLUDE = "clamav/exclude.ign2"
"""Signatures that clamd shall not load, one a line, in ClamAV's own format."""
VERSIONS = "clamav/versions.url"
"""Where the shared service says which databases it has; freshclam's entry point asks there every minute."""

HEADERS = {
    "AuthenticationResults": "authentication-results",
    "SpamStatus": "x-spam-status",
    "SpamdResult": "x-spamd-result",
    "SpamdBar": "x-spamd-bar",
    "SpamLevel": "x-spam-level",
}
"""The header that each name of the spec stands for, as rspamd's module milter_headers calls it."""


@dataclass(frozen=True)
class Configuration:
    """All files of a filter pod, by the ConfigMap or Secret that holds them; `key_files` are in the keyring."""

    metrics: Files
    workers: Files
    modules: Files
    clamav: Files
    files: Files
    """The user's own text."""
    credentials: Files = field(repr=False)
    """What holds secrets, the user's own text among it."""
    freshclam: Files = field(repr=False)
    """What holds secrets and is for freshclam's container alone."""
    salt: str = field(repr=False)
    key_digests: Mapping[str, str]
    """SHA-256 of each private key's file: a pod takes no key that somebody changed in the keyring. It tells nothing
    of a key that has a hundred times its entropy."""

    @property
    def freshclam_salt(self) -> str:
        """The salt of the files for freshclam."""
        return derive_freshclam_salt(self.salt)

    @property
    def raw(self) -> RawText:
        """The text of the user's own, which only a test shows to be good."""
        secret = {path: text for path, text in self.credentials.items() if path != CONTROLLER}
        return RawText(self.files, secret)

    @property
    def expected(self) -> str:
        """For which mails a pod that proves the configuration expects what."""
        return self.modules[EXPECTED]

    @property
    def manifest(self) -> str:
        """One line per file, sorted by path: SHA-256, key in the volume, path.

        That of a file with secrets is of a salt and the file: a password could be guessed from a plain one.
        """
        public = {**self.metrics, **self.workers, **self.modules, **self.clamav, **self.files}
        lines = [(path, _sha256(text), names.configmap_key(path)) for path, text in public.items()]
        salted = ((self.salt, self.credentials), (self.freshclam_salt, self.freshclam))
        lines += [
            (path, f"salted:{_sha256(salt + text)}", names.configmap_key(path))
            for salt, files in salted
            for path, text in files.items()
        ]
        lines += [(f"keys/{file}", digest, file) for file, digest in self.key_digests.items()]
        return "".join(f"{digest}  {key}  {path}\n" for path, digest, key in sorted(lines))

    @property
    def hash(self) -> str:
        """Name of this configuration."""
        return _sha256(self.manifest)


def render(valid: ValidMailFilter, keys: tuple[DkimKey, ...], secrets: Secrets, raw: RawText) -> Configuration:
    """Write every configuration file for *valid*, signing with *keys*; *raw* is taken as it is."""
    values = {
        "actions": valid.spec.actions,
        "headers": tuple(HEADERS[header] for header in valid.spec.headers),
        "metrics": valid.spec.metrics,
        "rules": valid.sender_rules,
        "workers": valid.spec.workers,
        "logging": valid.spec.logging,
        "sign": valid.spec.dkim.sign,
        "signatures": valid.spec.antivirus.signatures,
        "signatures_url": valid.signatures_url,
        "policies": list_policies(valid.spec.antivirus),
        "alerts": valid.spec.antivirus.alerts,
        "unofficial_names": UNOFFICIAL_NAMES,
        "limits_exceeded": LIMITS_EXCEEDED,
        "limits": valid.limits,
        "concurrent_reload": valid.concurrent_reload,
        "domains": {
            domain: [key for key in keys if key.domain == domain]
            for domain in dict.fromkeys(key.domain for key in keys)
        },
        "signed": build_signed_probes(valid.spec.dkim.sign, (key.domain for key in keys)),
        "password_hash": secrets.password_hash,
        "milter_port": names.MILTER_PORT,
        "normal_port": names.NORMAL_PORT,
        "controller_port": names.CONTROLLER_PORT,
        "clamd_socket": names.CLAMD_SOCKET,
        "signature_directory": names.SIGNATURE_DIRECTORY,
    }

    def files(paths: tuple[str, ...], directory: str = "rspamd/") -> Files:
        return {path: _render(f"{directory}{path}", values) for path in paths}

    disabled = _render("rspamd/override.d/disabled.conf", {})
    return Configuration(
        metrics=files(METRICS),
        workers=files(WORKERS),
        modules={
            **files(MODULES),
            **{f"override.d/{module}.conf": disabled for module in NEED_REDIS},
            **{rule.path: "".join(f"{entry}\n" for entry in rule.entries) for rule in valid.sender_rules},
        },
        clamav={**files(CLAMAV, ""), **_list_signature_files(valid)},
        files=raw.public,
        credentials={**files((CONTROLLER,)), **raw.secret},
        freshclam=valid.way_out,
        salt=secrets.salt,
        key_digests={key.file_name: hashlib.sha256(key.file_content).hexdigest() for key in keys},
    )


def _list_signature_files(valid: ValidMailFilter) -> Files:
    signatures = valid.spec.antivirus.signatures
    files = {}
    if signatures.exclude:
        files[EXCLUDE] = "".join(f"{name}\n" for name in sorted(signatures.exclude))
    if signatures.source == "Shared":
        files[VERSIONS] = f"{valid.signatures_url}/versions\n"
    return files


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


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

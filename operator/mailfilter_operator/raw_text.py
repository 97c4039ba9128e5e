"""The user's own text for rspamd: files and worker options, and which of them may not be set.

rspamd reads local.d first and then override.d, where the operator's own files are: what they set, wins. Whatever a
mail's safety hangs on (antivirus, signing, sockets, processes) has no place here; that is refused with the reason. What
is left can still be wrong, so that a pod tests it before it serves.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mailfilter_operator import names
from mailfilter_operator.api import Spec, Texts
from mailfilter_operator.errors import InvalidSpec
from mailfilter_operator.references import References
from mailfilter_operator.ucl import write_option

Files = Mapping[str, str]
"""Path below the accepted configuration to text."""

_PATH = re.compile(r"(local\.d(/maps(\.d)?)?|override\.d|maps)/[A-Za-z0-9][-A-Za-z0-9._]{0,99}")
"""The directories are those in which rspamd's own configuration looks for files, and one for maps of the user's own."""

_AMBIGUOUS = re.compile(r"local\.d/maps(\.d)?_.*")
"""Has the key of another file: a ConfigMap knows no directories."""

LIMIT = 480 * 1024
"""Bytes of all raw text; a Secret holds 1 MiB, and two texts in it while one is tried beside the other."""

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

CLOSED = {
    "antivirus.conf": "every mail is scanned as spec.antivirus says",
    "dkim_signing.conf": "keys and signing are set by spec.domains and spec.dkim",
    "force_actions.conf": "what happens to viruses and failed scans is set by spec.antivirus",
    "groups.conf": "scores are set by spec.metrics, and rspamd reads it outside of any section, where it could set all",
    "mailfilter.conf": "it could let mail pass unscanned",
    "statistic.conf": "rspamd reads it outside of any section, and all could be set; use local.d/classifier-bayes.conf",
    "worker-controller.inc": "set spec.workers.controller",
    "worker-fuzzy.inc": "the filter has no fuzzy storage",
    "worker-hs_helper.inc": "the process is the operator's",
    "worker-normal.inc": "set spec.workers.normal",
    "worker-proxy.inc": "set spec.workers.proxy",
}
"""Files that can be set neither in local.d nor in override.d, and why."""

OWNED_OVERRIDES = (
    "actions.conf",
    "classifier-bayes.conf",
    "fuzzy_check.conf",
    "logging.inc",
    "milter_headers.conf",
    "multimap.conf",
    "options.inc",
    *(f"{module}.conf" for module in NEED_REDIS),
)
"""Files of override.d that the operator writes; the same file in local.d is the user's."""

OWNED_MAPS = "maps/mailfilter-"

_OWNED_OPTIONS = {
    "allow_file_and_shm_inputs": "a client could else name any file of the pod as its message",
    "bind_socket": "ports are fixed",
    "enabled": "a field of its own, or always so",
    "encrypted_only": "clients speak plain HTTP or the milter protocol",
    "keypair": "it is a secret, and this text is readable by whoever may read ConfigMaps",
    "ssl_cert": "clients speak plain HTTP or the milter protocol",
    "ssl_key": "clients speak plain HTTP or the milter protocol",
    "type": "the process is the operator's",
}
OWNED_OPTIONS = {
    "proxy": {
        **_OWNED_OPTIONS,
        "count": "set spec.workers.proxy.count",
        "discard_on_reject": "what happens to viruses is set by spec.antivirus.onVirus",
        "milter": "the MTA speaks it",
        "mirror": "the workers scan themselves",
        "quarantine_on_reject": "what happens to viruses is set by spec.antivirus.onVirus",
        "script": "the workers scan themselves",
        "timeout": "set spec.workers.proxy.timeoutSeconds",
        "upstream": "the workers scan themselves",
    },
    "controller": {
        **_OWNED_OPTIONS,
        "count": "set spec.workers.controller.count",
        "enable_password": "set spec.workers.controller.passwordSecretRef",
        "password": "set spec.workers.controller.passwordSecretRef",
        "secure_ip": "set spec.workers.controller.secureNetworks",
        "static_dir": "the pages of the web interface are in the image",
        "stats_path": "the pod's file system is the operator's",
        "trusted_ips": "set spec.workers.controller.secureNetworks",
    },
    "normal": {
        **_OWNED_OPTIONS,
        "count": "set spec.workers.normal.count",
        "mime": "what is not read as a mail is not scanned for viruses",
        "task_timeout": "set spec.workers.proxy.timeoutSeconds",
        "timeout": "set spec.workers.proxy.timeoutSeconds",
    },
}
"""Options of each worker that are the operator's, and why."""


@dataclass(frozen=True)
class RawText:
    """The user's own text, by path: what anybody may see, and what comes from Secrets."""

    public: Files = field(default_factory=dict)
    secret: Files = field(default_factory=dict, repr=False)

    @property
    def is_empty(self) -> bool:
        """There is nothing that could be wrong."""
        return not self.public and not self.secret


def hash_raw_text(raw: RawText, salt: str) -> str:
    """Name of all of the text; without *salt* a short secret in it could be guessed."""
    text = json.dumps([salt, dict(raw.public), dict(raw.secret)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_raw_text(spec: Spec, references: References) -> RawText:
    """The raw text of *spec*. Raises InvalidSpec for what may not be set, InvalidReference for a Secret."""
    public = dict(spec.config.files)
    for path in public:
        refuse_path(f"spec.config.files[{path}]", path)
    secret: dict[str, str] = {}
    for index, file in enumerate(spec.config.secret_refs):
        here = f"spec.config.secretRefs[{index}]"
        refuse_path(f"{here}.path", file.path)
        if file.path in public or file.path in secret:
            raise InvalidSpec(f"{here}.path", f"{file.path} is set twice; leave one of the two out")
        secret[file.path] = references.read_secret(here, file)
    options = dict(_read_options(spec))
    _refuse_too_much([*public.values(), *secret.values(), *options.values()])
    return RawText({**public, **options}, secret)


def refuse_path(where: str, path: str) -> None:
    """Raise InvalidSpec if a file of this path is not the user's to set; *where* is the field that names it."""
    directory, _, name = path.partition("/")
    if not _PATH.fullmatch(path) or _AMBIGUOUS.fullmatch(path):
        raise InvalidSpec(
            where,
            "is no file that rspamd reads; write local.d/NAME, override.d/NAME or maps/NAME with letters, digits, "
            "dots, hyphens and underscores in NAME, for example local.d/greylist.conf",
        )
    if directory != "maps" and name in CLOSED:
        raise InvalidSpec(where, f"leave {path} out, it is the operator's: {CLOSED[name]}")
    if directory == "override.d" and name in OWNED_OVERRIDES:
        raise InvalidSpec(where, f"use local.d/{name} in place of {path}, which the operator writes")
    if path.startswith(OWNED_MAPS):
        raise InvalidSpec(where, f"choose another name than {path}; maps of spec.lists are called mailfilter-...")


def find_raw_path(key: str) -> str | None:
    """Path of the file of raw text that has this key in a ConfigMap or Secret; None if there is none."""
    for directory in ("local.d/maps.d", "local.d/maps", "local.d", "override.d", "maps"):
        prefix = names.configmap_key(f"{directory}/")
        if key.startswith(prefix):
            path = f"{directory}/{key.removeprefix(prefix)}"
            return path if _is_raw_path(path) else None
    return None


def _is_raw_path(path: str) -> bool:
    if path in {f"local.d/worker-{worker}.inc" for worker in OWNED_OPTIONS}:
        return True
    try:
        refuse_path("", path)
    except InvalidSpec:
        return False
    return True


def shorten_error(error: str, raw: RawText) -> str:
    """What a pod said against a configuration, for people: paths as the spec has them.

    With text from Secrets in it only the place of the error is told: rspamd may quote what it does not understand.
    """
    text = re.sub(r"/[-./\w]*/(?=(local\.d|override\.d|maps)/)", "", error)
    if not raw.secret:
        return text
    place = re.search(r"(local\.d|override\.d|maps)/[-.\w]+: line: [0-9]+(, column: [0-9]+)?", text)
    probe = re.match(r"the probe '[-a-zA-Z0-9@. ]+' (is not|gets no) [a-z ]+", text)
    found = place or probe or re.match(r"its test did not end in time|rspamd does not start with it", text)
    hint = "more is not shown, since text of Secrets may be in it"
    return f"{found[0]} ({hint})" if found else f"rspamd does not accept it ({hint})"


def _read_options(spec: Spec) -> Iterator[tuple[str, str]]:
    for worker in OWNED_OPTIONS:
        options: Texts = getattr(spec.workers, worker).options
        where = f"spec.workers.{worker}.options"
        for name, _ in options:
            if name in OWNED_OPTIONS[worker]:
                raise InvalidSpec(where, f"leave {name} out, it is the operator's: {OWNED_OPTIONS[worker][name]}")
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
                raise InvalidSpec(
                    where, f"{name!r} is no name of an option; write it as rspamd does, such as max_retries"
                )
        if options:
            yield f"local.d/worker-{worker}.inc", "".join(f"{name} = {write_option(text)};\n" for name, text in options)


def _refuse_too_much(texts: list[str]) -> None:
    size = sum(len(text.encode()) for text in texts)
    if size > LIMIT:
        raise InvalidSpec(
            "spec.config",
            f"files, secretRefs and worker options together take {size} bytes, more than the {LIMIT} that fit; shorten "
            "them, or let rspamd fetch long maps over HTTP",
        )

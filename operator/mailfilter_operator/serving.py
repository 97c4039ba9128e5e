"""Which raw text serves: read back from the objects that pods mount, as far as they can be trusted.

Trusted is a manifest that pods were told of or have reported, and a text with the hash that the manifest gives it. What
somebody else wrote there must not pass for something that a pod has proven.
"""

import hashlib
from collections.abc import Iterable, Mapping

from mailfilter_operator import names
from mailfilter_operator.delivery import Pod
from mailfilter_operator.observed import Observed
from mailfilter_operator.raw_text import RawText, is_raw_path
from mailfilter_operator.raw_trial import Serving
from mailfilter_operator.references import decode_text


def read_serving(observed: Observed, pods: Iterable[Pod]) -> Serving[RawText] | None:
    """The raw text that serves and whether a pod has proven it; None if that is not known."""
    pods = tuple(pods)
    instance = observed.mailfilter["metadata"]["name"]
    manifest = _data(observed, "ConfigMap", names.modules_configmap(instance)).get(names.MANIFEST_KEY)
    if manifest is None:
        return None
    name = _sha256(manifest)
    reported = {pod.report.active for pod in pods if pod.report}
    told = {pod.annotations.get(names.ANNOTATION_CONFIG) for pod in pods}
    remembered = ((observed.mailfilter.get("status") or {}).get("config") or {}).get("hash")
    if name not in reported | told | {remembered}:
        return None
    files = _data(observed, "ConfigMap", names.files_configmap(instance))
    raw = _read_raw_text(manifest, files, _data(observed, "Secret", names.credentials(instance)))
    return None if raw is None else Serving(raw, names.UNPROVEN_KEY not in files or name in reported)


def _read_raw_text(manifest: str, files: Mapping[str, str], credentials: Mapping[str, str]) -> RawText | None:
    """Texts of the raw files that *manifest* lists; None if one is not as it says."""
    public: dict[str, str] = {}
    secret: dict[str, str] = {}
    salt = decode_text(credentials.get(names.SALT_KEY, "")) or ""
    for line in manifest.splitlines():
        digest, _, rest = line.partition("  ")
        key, _, path = rest.partition("  ")
        if not is_raw_path(path):
            continue
        if digest.startswith("salted:"):
            text = decode_text(credentials.get(key, "")) or ""
            found, part = f"salted:{_sha256(salt + text)}", secret
        else:
            text = files.get(key, "")
            found, part = _sha256(text), public
        if found != digest:
            return None
        part[path] = text
    return RawText(public, secret)


def _data(observed: Observed, kind: str, name: str) -> Mapping[str, str]:
    return (observed.children.get((kind, name)) or {}).get("data") or {}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

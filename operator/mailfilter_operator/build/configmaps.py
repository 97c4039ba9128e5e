"""ConfigMaps of the rendered files. Nothing in them is secret."""

from typing import Any

from mailfilter_operator import names
from mailfilter_operator.build.metadata import build_metadata, with_content_hash
from mailfilter_operator.plan import Plan
from mailfilter_operator.raw_text import Files, hash_raw_text
from mailfilter_operator.validate import ValidMailFilter


def build_configmaps(valid: ValidMailFilter, plan: Plan) -> list[dict[str, Any]]:
    """The six ConfigMaps. The manifest, which decides what counts as complete, is among the modules.

    What is tried beside what serves has a ConfigMap of its own: the manifest, and the files that differ.
    """
    configuration = plan.configuration
    manifest = {names.MANIFEST_KEY: configuration.manifest}
    tried = {names.CANDIDATE_PREFIX + names.MANIFEST_KEY: plan.candidate.manifest} if plan.candidate else {}
    tried |= {names.candidate_key(path): text for path, text in plan.tried_files.items()}
    return [
        _build_configmap(valid, names.metrics_configmap(valid.name), configuration.metrics),
        _build_configmap(valid, names.workers_configmap(valid.name), configuration.workers),
        _build_configmap(valid, names.modules_configmap(valid.name), configuration.modules, manifest),
        _build_configmap(valid, names.clamav_configmap(valid.name), configuration.clamav),
        _build_files(valid, plan),
        _build_configmap(valid, names.candidate_configmap(valid.name), {}, tried),
    ]


def _build_files(valid: ValidMailFilter, plan: Plan) -> dict[str, Any]:
    """The raw text that serves, with what is known of it."""
    configuration = plan.configuration
    unproven = {names.UNPROVEN_KEY: configuration.hash} if plan.unproven else {}
    annotations = {names.ANNOTATION_RAW: hash_raw_text(configuration.raw, configuration.salt)}
    if plan.proof is not None:
        annotations[names.ANNOTATION_PROOF] = plan.proof
    name = names.files_configmap(valid.name)
    return with_content_hash(_build_configmap(valid, name, configuration.files, unproven, annotations))


def _build_configmap(
    valid: ValidMailFilter,
    name: str,
    files: Files,
    extra: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    data = {names.configmap_key(path): text for path, text in files.items()}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": build_metadata(valid, name, annotations=annotations),
        "data": data | (extra or {}),
    }

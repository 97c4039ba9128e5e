"""ConfigMaps of the rendered files. Nothing in them is secret."""

from typing import Any

from mailfilter_operator import names
from mailfilter_operator.build.metadata import build_metadata, with_content_hash
from mailfilter_operator.plan import Plan
from mailfilter_operator.raw_text import Files
from mailfilter_operator.validate import ValidMailFilter


def build_configmaps(valid: ValidMailFilter, plan: Plan) -> list[dict[str, Any]]:
    """The six ConfigMaps. The manifest, which decides what counts as complete, is among the modules.

    What is tried beside what serves has a ConfigMap of its own: the manifest, and the files that differ.
    """
    configuration = plan.configuration
    manifest = {names.MANIFEST_KEY: configuration.manifest}
    unproven = {names.UNPROVEN_KEY: configuration.hash} if plan.unproven else {}
    tried = {names.CANDIDATE_PREFIX + names.MANIFEST_KEY: plan.candidate.manifest} if plan.candidate else {}
    tried |= {names.candidate_key(path): text for path, text in plan.tried_files.items()}
    return [
        _build_configmap(valid, names.metrics_configmap(valid.name), configuration.metrics),
        _build_configmap(valid, names.workers_configmap(valid.name), configuration.workers),
        _build_configmap(valid, names.modules_configmap(valid.name), configuration.modules, manifest),
        _build_configmap(valid, names.clamav_configmap(valid.name), configuration.clamav),
        with_content_hash(_build_configmap(valid, names.files_configmap(valid.name), configuration.files, unproven)),
        _build_configmap(valid, names.candidate_configmap(valid.name), {}, tried),
    ]


def _build_configmap(
    valid: ValidMailFilter, name: str, files: Files, extra: dict[str, str] | None = None
) -> dict[str, Any]:
    data = {names.configmap_key(path): text for path, text in files.items()}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": build_metadata(valid, name),
        "data": data | (extra or {}),
    }

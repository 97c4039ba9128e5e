"""ConfigMaps of the rendered files. Nothing in them is secret."""

from typing import Any

from mailfilter_operator import names
from mailfilter_operator.build.metadata import build_metadata
from mailfilter_operator.raw_text import Files
from mailfilter_operator.render import Configuration
from mailfilter_operator.validate import ValidMailFilter


def build_configmaps(valid: ValidMailFilter, configuration: Configuration) -> list[dict[str, Any]]:
    """The five ConfigMaps; the manifest, which decides what counts as complete, is among the modules."""
    manifest = {names.MANIFEST_KEY: configuration.manifest}
    return [
        _build_configmap(valid, names.metrics_configmap(valid.name), configuration.metrics),
        _build_configmap(valid, names.workers_configmap(valid.name), configuration.workers),
        _build_configmap(valid, names.modules_configmap(valid.name), configuration.modules, manifest),
        _build_configmap(valid, names.clamav_configmap(valid.name), configuration.clamav),
        _build_configmap(valid, names.files_configmap(valid.name), configuration.files),
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

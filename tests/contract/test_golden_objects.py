"""Every expected object is one that Kubernetes knows: strict, by the schemas of its own API server."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest
import yaml

KUBERNETES = "1.33"
"""The oldest that is supported."""

CASES = sorted((Path(__file__).parents[1] / "golden").glob("*/objects.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.parent.name)
def test_objects_fit_the_schemas_of_kubernetes(case: Path) -> None:
    for manifest in yaml.load_all(case.read_text(), yaml.CSafeLoader):
        if manifest["kind"] == "Secret":  # words stand for what is secret
            manifest["data"] = {}
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_unknown_field_would_be_found() -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dat": {}}

    with pytest.raises(kubernetes_validate.ValidationError, match="dat"):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)

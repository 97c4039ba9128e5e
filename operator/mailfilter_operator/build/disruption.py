"""How many filter pods may be taken away on purpose at one time."""

from typing import Any

from mailfilter_operator import names
from mailfilter_operator.build.metadata import build_metadata
from mailfilter_operator.validate import ValidMailFilter


def build_disruption_budget(valid: ValidMailFilter) -> dict[str, Any]:
    """One pod at a time; one that scans no mail may always go, else it would keep its node from being drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": build_metadata(valid, valid.name),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.selector(valid.name)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }

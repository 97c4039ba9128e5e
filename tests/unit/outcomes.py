"""Outcomes of passes, and what conditions say of them in short."""

from __future__ import annotations

from typing import Any

from mailfilter_operator.conditions import Condition
from mailfilter_operator.delivery import Pod
from mailfilter_operator.pod_reports import PodReport
from mailfilter_operator.status import Outcome, compute_conditions

HASH = "wanted"


def pod(name: str = "mx-1", active: str | None = HASH, *, ready: bool = True, **report: Any) -> Pod:
    """A pod that reports the current configuration, with changes."""
    return Pod(name, "10.244.0.2", ready, {}, {}, PodReport(active, **report))


def deployment(generation: int = 2, **status: int) -> dict[str, Any]:
    """A Deployment of one pod that is ready, with changes."""
    state = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, **status}
    metadata = {"name": "mx", "generation": generation}
    return {"metadata": metadata, "spec": {"replicas": 1}, "status": state}


def conditions(**outcome: Any) -> dict[str, Condition]:
    return compute_conditions(Outcome(**{"deployment": deployment(), "config_hash": HASH, "pods": (pod(),), **outcome}))


def brief(found: dict[str, Condition], *types: str) -> list[tuple[str, str]]:
    return [(found[name].status, found[name].reason) for name in types]

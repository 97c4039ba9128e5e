"""Whose an object is: only ours is written, only what we control is pruned."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.errors import Conflict
from mailfilter_operator.ownership import is_controlled_by, is_ours, require_ours

MAILFILTER = samples.body()
OURS = names.labels("mx", "filter")
NOT_LABELLED = "does not carry the labels of the MailFilter mx"


def owner(**changes: Any) -> dict[str, Any]:
    reference = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": "mx", "uid": samples.UID}
    return {**reference, "controller": True, **changes}


def configmap(labels: dict[str, str] | None, *owners: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "mx-metrics", "namespace": "mail"}
    if labels is not None:
        metadata["labels"] = labels
    if owners:
        metadata["ownerReferences"] = list(owners)
    return {"kind": "ConfigMap", "metadata": metadata}


@pytest.mark.parametrize(
    ("live", "controlled"),
    [
        pytest.param(configmap(OURS, owner()), True, id="controlled and labelled"),
        pytest.param(configmap(None, owner()), False, id="controlled, labels removed"),
        pytest.param(configmap({}, owner()), False, id="controlled, labels emptied"),
        pytest.param(configmap(OURS), False, id="labelled, owner reference removed"),
        pytest.param(configmap(OURS, owner(uid="gone")), False, id="of a deleted MailFilter of the same name"),
        pytest.param(
            configmap(OURS, owner(uid="gone", apiVersion="mailfilter.dev/v1")), False, id="of another version"
        ),
        pytest.param(configmap(OURS, owner(kind="Job", uid="x", controller=False)), False, id="owned, not controlled"),
        pytest.param(configmap(OURS, owner(kind="Job", uid="x", controller=False), owner()), True, id="second owner"),
    ],
)
def test_ours(live: dict[str, Any], controlled: bool) -> None:
    require_ours(live, MAILFILTER)

    assert is_ours(live, MAILFILTER)
    assert is_controlled_by(live, MAILFILTER) is controlled


@pytest.mark.parametrize(
    ("live", "why"),
    [
        pytest.param(configmap(None), NOT_LABELLED, id="nobody's"),
        pytest.param(configmap(names.labels("mx-2", "filter")), NOT_LABELLED, id="labels of another MailFilter"),
        pytest.param(configmap({**OURS, names.LABEL_MANAGED_BY: "Helm"}), NOT_LABELLED, id="managed by something else"),
        pytest.param(
            configmap(OURS, owner(kind="Deployment", name="web", uid="x")),
            "is controlled by Deployment web",
            id="controlled by another kind",
        ),
        pytest.param(
            configmap(OURS, owner(name="mx-2", uid="x")), "is controlled by MailFilter mx-2", id="of another MailFilter"
        ),
        pytest.param(
            configmap(OURS, owner(apiVersion="mailfilter.dev.test/v1", uid="x")),
            "is controlled by MailFilter mx",
            id="MailFilter of another group",
        ),
        pytest.param(
            configmap(None, owner(uid="gone")),
            "is controlled by MailFilter mx",
            id="of a deleted MailFilter, no labels",
        ),
    ],
)
def test_foreign(live: dict[str, Any], why: str) -> None:
    assert not is_ours(live, MAILFILTER)
    assert not is_controlled_by(live, MAILFILTER)
    with pytest.raises(Conflict) as conflict:
        require_ours(live, MAILFILTER)
    assert f"ConfigMap mx-metrics exists and {why}. It is left alone: " in conflict.value.message

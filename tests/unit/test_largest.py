"""What is written about the MailFilter with the most keys is not longer than Kubernetes stores."""

from __future__ import annotations

import base64
import json

import pytest
from tests.unit import largest, samples

from mailfilter_operator import status
from mailfilter_operator.build.secrets import build_keyring
from mailfilter_operator.dkim.keyring import find_places, parse_keyring
from mailfilter_operator.dkim.keys import ACTIVE, DkimKey

ANNOTATIONS = 256 << 10
"""TotalAnnotationSizeLimitB of k8s.io/apimachinery/pkg/api/validation."""
SECRET = 1 << 20
"""MaxSecretSize of k8s.io/kubernetes/pkg/apis/core."""
REQUEST = 1_572_864
"""What etcd takes at once, its --max-request-bytes; with room for the spec, and for what else stands on the object."""
SPEC = 256 << 10


@pytest.fixture(scope="module")
def rotating() -> tuple[DkimKey, ...]:
    """Provide the most keys that one MailFilter can have."""
    return largest.make_rotating_keys()


def test_the_keyring_fits_and_every_key_can_be_restored_from_it(rotating: tuple[DkimKey, ...]) -> None:
    keyring = build_keyring(samples.valid(), rotating)
    annotations = keyring["metadata"]["annotations"]

    assert sum(len(name) + len(text) for name, text in annotations.items()) <= ANNOTATIONS
    assert sum(len(base64.b64decode(content)) for content in keyring["data"].values()) <= SECRET
    assert len(json.dumps(keyring)) <= REQUEST
    assert len(find_places(keyring)) == len(rotating)
    assert set(parse_keyring(keyring)) == {key for key in rotating if key.state == ACTIVE}


@pytest.mark.parametrize("observed", [None, largest.LONGEST_OBSERVED, largest.WIDEST_OBSERVED])
def test_status_fits(rotating: tuple[DkimKey, ...], observed: str | None) -> None:
    report = largest.report_keys(rotating, observed)
    written = status.compute_status(samples.body(), status.Outcome(None, "", domains=report), samples.NOW)

    assert len(written["dnsRecords"]) == len(rotating)
    assert all(bool(entry.get("observed")) == bool(observed) for entry in written["dnsRecords"])
    assert len(json.dumps(written, ensure_ascii=False).encode()) <= REQUEST - SPEC

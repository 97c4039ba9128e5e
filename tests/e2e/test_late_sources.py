"""P5: what reaches a pod in pieces, late and in the wrong order, serves as a whole or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from tests.e2e import changes, configurations, operators, pods
from tests.e2e.configurations import NEW, OLD, Configuration
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

MODULES = "modules"


@pytest.fixture
def both(system: MailSystem) -> tuple[Configuration, Configuration]:
    """Provide the configuration that serves and one of another spec, both made by the operator."""
    before = system.mailfilter()["spec"]
    old = configurations.read(system)
    try:
        changes.change(system, configurations.changed_spec(system))
        new = configurations.read(system)
    finally:
        changes.restore(system, before, "metrics", "domains")
    assert configurations.read(system) == old
    return old, new


def test_pieces_in_the_wrong_order_never_serve_as_a_mixture(
    system: MailSystem, both: tuple[Configuration, Configuration]
) -> None:
    """First the annotation, then the manifest, then one object after the other; the last one makes it complete."""
    old, new = both
    (pod,) = system.filter_pods()
    modules = ("configmap", f"{system.name}-{MODULES}")
    with configurations.observed(system, pod) as seen:
        with operators.stopped(system.kubectl):
            configurations.tell(system, pod, **{pods.HASH_ANNOTATION: new.hash})
            _assert_serves(pod, old, seen)
            manifest = {"manifest": new.data[modules]["manifest"]}
            late = [piece for piece in new.data if new.data[piece] != old.data[piece]]
            assert len(late) >= 3, late
            for piece, data in [(modules, old.data[modules] | manifest), *((piece, new.data[piece]) for piece in late)]:
                _assert_serves(pod, old, seen)
                configurations.write(system.kubectl, system.namespace, piece, data)
                configurations.wait_mounted(system, pod, piece, data)
            eventually(lambda: configurations.active(pod) == new.hash, within_seconds=60, what="the new one active")
            seen.more()
            assert seen.mails[-1] == NEW
        # The spec says otherwise, and the operator is back.
        eventually(lambda: configurations.active(pod) == old.hash, within_seconds=90, what="the old one active again")
        seen.more()
        assert seen.mails[-1] == OLD
    assert seen.combinations() == {OLD, NEW}
    assert set(seen.live) == {old.hash, new.hash}
    assert seen.mixed == []
    changes.wait_ready_for(system, system.mailfilter()["metadata"]["generation"])


def _assert_serves(pod: dict[str, Any], configuration: Configuration, seen: configurations.Seen) -> None:
    """Assert that a pod goes on with a configuration, whatever lies before it now."""
    seen.more()
    assert configurations.active(pod) == configuration.hash
    assert seen.mails[-1] == OLD
    assert seen.live[-1] == configuration.hash

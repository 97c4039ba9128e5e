"""P5: raw text that rspamd cannot run, or that disarms it, never serves; the last good one goes on serving."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.e2e import bad_text, processes, traffic
from tests.e2e.bad_text import Bad
from tests.e2e.raw_text import GOOD, RawText
from tests.mail.kubectl import KubectlError
from tests.mail.polling import eventually
from tests.mail.system import MailSystem

from mailfilter_operator.names import ANNOTATION_CANDIDATE

REFUSED_SECONDS = 60.0
HANGING_SECONDS = 180.0
"""The test of a hanging configuration has a minute, and the kubelet may look at the volume late."""
NAMES = [kind.name for kind in bad_text.IN_CLUSTER]
HANGING = bad_text.HANGING[0]
REFUSED = bad_text.SYNTAX[0]


@pytest.fixture(scope="module")
def raw_text(installed: MailSystem, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawText]:
    """Provide a filter that serves raw text which a pod has proven; the raw text is taken out afterwards."""
    traffic.wait_filtering(installed, within_seconds=120)
    raw = RawText(installed, tmp_path_factory.mktemp("raw-text"))
    raw.wait_serving(raw.apply(GOOD))
    yield raw
    raw.wait_serving(raw.apply({}))


@pytest.fixture
def steady(raw_text: RawText) -> Iterator[RawText]:
    """Provide the same, and assert that the pods serve afterwards what they served before, none restarted."""
    serving, restarts = raw_text.active(), raw_text.restarts()
    yield raw_text
    raw_text.assert_filtering()
    assert raw_text.active() == serving
    assert raw_text.restarts() == restarts


@pytest.mark.parametrize("kind", bad_text.IN_CLUSTER, ids=NAMES)
def test_bad_text_never_serves(steady: RawText, kind: Bad, figure: Callable[[str], None]) -> None:
    if kind.secret:
        steady.write_secret(bad_text.SECRET, bad_text.KEY, kind.secret)
    if kind.by == bad_text.SCHEMA:
        with pytest.raises(KubectlError) as refused:
            steady.apply(kind.spec)
        said = str(refused.value)
    else:
        started = time.monotonic()
        generation = steady.apply(kind.spec)
        hanging = kind in bad_text.HANGING
        said = steady.wait_refused(generation, kind.by, HANGING_SECONDS if hanging else REFUSED_SECONDS)
        figure(f"{kind.name}: refused after {time.monotonic() - started:.1f} s")
    assert all(part in said for part in kind.says), said
    if kind.by == bad_text.POD:
        known = steady.system.mailfilter()["status"]["config"]
        assert all(part in known["error"] for part in kind.says), known
        assert known["refusedHash"] != known["hash"]
    assert "hunter2" not in str(steady.system.mailfilter()["status"])


def test_thirty_kinds_are_tried() -> None:
    assert len({kind.name for kind in bad_text.KINDS}) == len(bad_text.KINDS)
    assert len(bad_text.IN_CLUSTER) >= 30


def test_a_pod_that_starts_while_bad_text_is_refused_serves_the_last_good_one(raw_text: RawText) -> None:
    serving = raw_text.active()
    raw_text.wait_refused(raw_text.apply(REFUSED.spec), REFUSED.by, REFUSED_SECONDS)
    raw_text.delete_pod(next(iter(raw_text.reports())))
    traffic.wait_filtering(raw_text.system, within_seconds=60)

    assert raw_text.active() == serving
    assert raw_text.condition("Stalled", raw_text.system.mailfilter()["metadata"]["generation"])["status"] == "True"


def test_another_pod_goes_on_with_the_trial_of_one_that_is_deleted(raw_text: RawText) -> None:
    serving = raw_text.active()
    generation = raw_text.apply(HANGING.spec)
    trying = eventually(lambda: _find_trying(raw_text), within_seconds=30, what="a pod that is told to try it")
    raw_text.delete_pod(trying)
    traffic.wait_filtering(raw_text.system, within_seconds=60)
    assert raw_text.active() == serving
    said = raw_text.wait_refused(generation, HANGING.by, HANGING_SECONDS)

    assert all(part in said for part in HANGING.says), said
    assert trying not in raw_text.reports()
    assert raw_text.active() == serving


def test_a_trial_without_virus_scanner_is_made_when_it_is_back(raw_text: RawText) -> None:
    """Nothing is known of the text meanwhile: it is neither refused nor served."""
    before = raw_text.active()
    (pod,) = raw_text.system.filter_pods()
    other: dict[str, Any] = {"config": {"files": {**GOOD["config"]["files"], "maps/own": "/cheaper watches/\n"}}}
    with processes.kept_under(pod["metadata"]["uid"], "clamd", signal.SIGSTOP):
        generation = raw_text.apply(other)
        eventually(lambda: _find_trying(raw_text), within_seconds=30, what="a pod that is told to try it")
        traffic.assert_all_deferred(traffic.send_for(raw_text.system, 20, ways=("service",)), ways=("service",))
        assert raw_text.active() == before
        assert raw_text.condition("Stalled", generation)["status"] == "False"
    traffic.wait_filtering(raw_text.system, within_seconds=60)

    assert raw_text.wait_serving(generation) != before


def _find_trying(raw_text: RawText) -> str | None:
    """Name of the pod that is told to try raw text."""
    pods = raw_text.system.filter_pods()
    names = (pod["metadata"]["name"] for pod in pods if ANNOTATION_CANDIDATE in pod["metadata"].get("annotations", {}))
    return next(names, None)


def test_good_text_serves_after_all_that(raw_text: RawText) -> None:
    before, restarts = raw_text.active(), raw_text.restarts()
    longer = {"config": {"files": {**GOOD["config"]["files"], "maps/own": "/cheap watches/\n/cheap pills/\n"}}}

    serving = raw_text.wait_serving(raw_text.apply(longer))
    assert serving != before
    without = raw_text.wait_serving(raw_text.apply({}))
    assert without not in (before, serving)
    assert raw_text.restarts() == restarts

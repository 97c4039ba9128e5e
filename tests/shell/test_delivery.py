"""A pass tells the pods what to serve when all is written, asks them, and has raw text tried before it serves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from tests.shell.test_interruption import EndError, end_at
from tests.shell.world import World

from mailfilter_operator import names
from mailfilter_operator.delivery import FIRST_REMINDER_MS
from mailfilter_operator.pod_reports import PodReport, Verdict

MULTIMAP = "local.d/multimap.conf"
KEY = "local.d_multimap.conf"


def raw(text: str, **spec: Any) -> dict[str, Any]:
    """Return a spec with one file of raw text."""
    return {"config": {"files": {MULTIMAP: text}}, **spec}


def told(world: World, pod: str = "mx-1") -> dict[str, str]:
    """Return the annotations of a pod, without when it was told."""
    annotations = world.object("Pod", pod)["metadata"].get("annotations", {})
    return {name: text for name, text in annotations.items() if name != names.ANNOTATION_TOLD}


def data(world: World, name: str) -> dict[str, str]:
    """Return what a ConfigMap holds."""
    return dict(world.object("ConfigMap", name)["data"])


@pytest.fixture
def proven(world: World) -> World:
    """Provide a filter that serves raw text which a pod has proven."""
    world.apply(**raw("good"))
    world.look()
    world.roll_out()
    world.look()
    world.look()
    assert world.written() == []
    return world


def test_a_pod_is_told_last_and_a_converged_filter_is_left_in_peace(running: World) -> None:
    running.apply(domains=[{"name": "example.com"}, {"name": "example.org"}])
    written = running.written()

    assert [name for verb, name in written if verb == "annotate"] == ["Pod/mx-1"]
    assert [verb for verb, _ in written][-2:] == ["annotate", "apply_status"] or written[-2][0] == "apply_status"
    assert max(i for i, (verb, _) in enumerate(written) if verb == "apply") < written.index(("annotate", "Pod/mx-1"))
    assert running.written() == []


def test_a_new_pod_is_told_and_all_pods_have_to_report(running: World) -> None:
    ip = running.put_pod(number=2)
    running.says[ip] = PodReport("0" * 64)
    running.look()

    assert told(running, "mx-2") == told(running)
    assert running.condition("ConfigApplied")[:2] == ("False", "Delivering")
    del running.says[ip]
    running.look()
    assert running.condition("ConfigApplied")[:2] == ("True", "Applied")


def test_a_pod_that_does_not_report_is_told_again_and_asked_soon(running: World) -> None:
    running.says["10.244.0.1"] = None
    running.apply(actions={"reject": 12})
    soon = running.look()
    assert running.written() == []
    running.now_ms += FIRST_REMINDER_MS

    assert running.written() == [("annotate", "Pod/mx-1")]
    assert soon is not None
    assert soon < 1
    assert running.condition("ConfigApplied")[:2] == ("False", "Delivering")


def test_a_pod_that_goes_while_it_is_told_is_nobodys_fault(running: World) -> None:
    running.apply(actions={"reject": 12})

    def delete(moment: str) -> None:
        if moment == "after" and running.cluster.writes[-1] == ("apply", "ConfigMap/mx-modules"):
            running.cluster.remove("Pod", "mail", "mx-1")

    running.cluster.on_write = delete
    running.look()

    assert running.condition("ConfigApplied")[:2] == ("False", "NoReadyPod")


def test_a_configuration_that_a_pod_refuses_is_named_with_file_and_line(running: World) -> None:
    running.apply(actions={"reject": 12})
    running.look()
    wanted = told(running)[names.ANNOTATION_CONFIG]
    error = f"/run/mailfilter/candidates/{wanted}/override.d/actions.conf: line: 2, column: 5"
    running.says["10.244.0.1"] = PodReport("0" * 64, refused=Verdict(wanted, error))
    running.look()

    assert running.condition("Stalled")[:2] == ("True", "ConfigRefused")
    assert running.status()["config"] == {
        "hash": wanted,
        "refusedHash": wanted,
        "error": "override.d/actions.conf: line: 2, column: 5",
    }
    assert running.events()[-1] == "ConfigRefused"


def test_the_first_raw_text_has_to_be_proven_by_the_pods_that_start(world: World) -> None:
    world.apply(**raw("first"))
    world.look()

    assert data(world, "mx-files") == {KEY: "first", names.UNPROVEN_KEY: data(world, "mx-files")[names.UNPROVEN_KEY]}
    assert data(world, "mx-candidate") == {}


def test_raw_text_that_a_pod_serves_is_proven(proven: World) -> None:
    assert data(proven, "mx-files") == {KEY: "good"}
    assert proven.condition("Ready")[0] == "True"


def test_changed_raw_text_is_tried_by_one_pod_while_the_last_good_one_serves(proven: World) -> None:
    proven.put_pod(number=2)
    proven.look()
    serving = told(proven)[names.ANNOTATION_CONFIG]
    proven.tries = False
    proven.apply(**raw("new"))
    proven.look()

    assert data(proven, "mx-files") == {KEY: "good"}
    assert data(proven, "mx-candidate").keys() == {"candidate.manifest", f"candidate.{KEY}"}
    assert told(proven)[names.ANNOTATION_CONFIG] == told(proven, "mx-2")[names.ANNOTATION_CONFIG] == serving
    assert [names.ANNOTATION_CANDIDATE in told(proven, pod) for pod in ("mx-1", "mx-2")] == [True, False]
    assert proven.condition("ConfigApplied")[:2] == ("False", "OnTrial")


def test_a_verdict_that_comes_in_the_middle_of_a_pass_is_looked_at_soon(proven: World) -> None:
    """The pods are asked twice in a pass: before it is decided what serves, and after they were told."""
    proven.tries = False
    proven.apply(**raw("new"))
    proven.look()
    asked = 0

    def answer_late(ips: Iterable[str]) -> dict[str, PodReport]:
        nonlocal asked
        asked += 1
        proven.tries = asked > 1
        return World.ask(proven, ips)

    proven.ask = answer_late  # type: ignore[method-assign]  # the pods' answer is what is tested
    soon = proven.look()

    assert asked == 2
    assert proven.condition("ConfigApplied")[1] == "OnTrial"
    assert soon is not None
    assert soon < 1
    proven.look()
    assert proven.condition("ConfigApplied")[1] == "Applied"


def test_the_first_raw_text_is_known_to_be_proven_soon_after_a_pod_says_so(world: World) -> None:
    world.apply(**raw("first"))
    world.look()
    world.roll_out()
    soon = world.look()

    assert soon is not None
    assert soon < 1


def test_raw_text_that_passes_serves(proven: World) -> None:
    proven.apply(**raw("new"))
    proven.look()
    proven.look()

    assert data(proven, "mx-files") == {KEY: "new"}
    assert data(proven, "mx-candidate") == {}
    assert names.ANNOTATION_CANDIDATE not in told(proven)
    assert proven.condition("Ready")[0] == "True"
    assert proven.written() == []


def test_raw_text_that_is_refused_never_serves_and_the_reason_stays(proven: World) -> None:
    proven.found = "the probe 'EICAR' is not refused as a virus: Action: no action"
    proven.apply(**raw("bad"))
    for _ in range(3):
        proven.look()

    assert data(proven, "mx-files") == {KEY: "good"}
    assert proven.condition("ConfigApplied")[:2] == ("False", "ConfigRefused")
    assert "EICAR" in proven.status()["config"]["error"]
    assert proven.written() == []
    assert proven.events().count("ConfigRefused") == 1


def test_a_refusal_is_remembered_when_the_pod_that_tried_is_gone(proven: World) -> None:
    proven.found = "bad"
    proven.apply(**raw("bad"))
    proven.look()
    proven.look()
    proven.cluster.remove("Pod", "mail", "mx-1")
    proven.put_pod(number=2)
    proven.found = None
    proven.look()

    assert proven.condition("ConfigApplied")[:2] == ("False", "ConfigRefused")
    assert proven.written() == []


def test_scores_and_keys_go_live_although_raw_text_is_bad(proven: World) -> None:
    proven.found = "bad"
    proven.apply(**raw("bad"))
    proven.look()
    proven.look()
    proven.apply(**raw("bad", actions={"reject": 12}, domains=[{"name": "example.org"}]))
    for _ in range(3):
        proven.look()

    assert "reject = 12;" in data(proven, "mx-metrics")["override.d_actions.conf"]
    assert "example.org" in data(proven, "mx-modules")["override.d_dkim_signing.conf"]
    assert data(proven, "mx-files") == {KEY: "good"}


def test_what_is_corrected_serves(proven: World) -> None:
    proven.found = "bad"
    proven.apply(**raw("bad"))
    proven.look()
    proven.look()
    proven.found = None
    proven.apply(**raw("corrected"))
    proven.look()
    proven.look()

    assert data(proven, "mx-files") == {KEY: "corrected"}
    assert "error" not in proven.status()["config"]


def test_taking_raw_text_out_needs_no_trial(proven: World) -> None:
    proven.tries = False
    proven.apply()
    proven.look()

    assert data(proven, "mx-files") == {}
    assert proven.condition("Ready")[0] == "True"


def test_what_somebody_plants_beside_the_raw_text_does_not_pass_for_proven(proven: World) -> None:
    """With another spec at the same time, so that the planted text is the only one there is."""
    proven.edit("ConfigMap", "mx-files", "data", KEY, value="planted")
    proven.tries = False
    proven.apply(**raw("new"))
    proven.look()

    assert "planted" not in data(proven, "mx-files").values()
    assert names.UNPROVEN_KEY in data(proven, "mx-files")


@pytest.mark.parametrize("found", [None, "bad"], ids=["passes", "refused"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 9))
def test_a_change_of_raw_text_that_ends_at_any_write_is_made_good(
    proven: World, number: int, moment: str, found: str | None
) -> None:
    """What serves is at no time anything else than what was proven."""
    proven.found = found
    proven.apply(**raw("new", actions={"reject": 12}))
    end_at(proven, number, moment)
    try:
        for _ in range(3):
            proven.look()
    except EndError:
        pass
    proven.cluster.on_write = lambda _: None
    assert found is None or data(proven, "mx-files") == {KEY: "good"}
    for _ in range(4):
        proven.look()

    assert data(proven, "mx-files") == {KEY: "good" if found else "new"}
    assert "reject = 12;" in data(proven, "mx-metrics")["override.d_actions.conf"]
    assert proven.condition("Ready")[0] == ("False" if found else "True")
    assert proven.written() == []

"""Raw text is tried by a pod before it serves; the last good one goes on serving."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from tests.shell.raw_texts import KEY, data, raw, told, with_secret
from tests.shell.test_interruption import EndError, end_at
from tests.shell.world import World

from mailfilter_operator import names, passwords
from mailfilter_operator.pod_reports import PodReport, Verdict


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
    proven.found = "the probe 'EICAR' is not treated as a virus: Action: no action"
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
    proven.look()  # the new pod has signed a probe mail

    assert proven.condition("ConfigApplied")[:2] == ("False", "ConfigRefused")
    assert proven.written() == []


def test_a_refusal_whose_reason_was_lost_is_still_a_refusal(proven: World) -> None:
    proven.found = "bad"
    proven.apply(**raw("bad"))
    proven.look()
    proven.look()
    proven.edit("MailFilter", "mx", "status", "config", "error", value=None)
    proven.cluster.remove("Pod", "mail", "mx-1")
    proven.put_pod(number=2)
    proven.tries = False
    proven.look()

    assert data(proven, "mx-files") == {KEY: "good"}
    assert proven.status()["config"]["error"] == "no reason was kept"


def test_a_pod_that_serves_what_it_refused_before_is_not_held_against_it(proven: World) -> None:
    proven.apply(**raw("good", actions={"reject": 12}))
    proven.look()
    wanted = told(proven)[names.ANNOTATION_CONFIG]
    ip = proven.put_pod(number=2)
    proven.says[ip] = PodReport(None, refused=Verdict(wanted, "its test did not end in time"))
    proven.look()
    assert proven.condition("Stalled")[:2] == ("True", "ConfigRefused")
    proven.says[ip] = PodReport(wanted, refused=Verdict(wanted, "its test did not end in time"))
    proven.look()

    assert proven.condition("Stalled")[0] == "False"
    assert proven.condition("Ready")[0] == "True"


def test_what_a_pod_quotes_of_a_secret_that_serves_is_not_told_although_the_spec_names_it_no_more(world: World) -> None:
    world.apply(**with_secret(world, "good", "hush"))
    world.look()
    world.roll_out()
    world.look()
    world.look()
    world.tries = False
    world.apply(**raw("new"))
    world.look()
    quoted = Verdict(told(world)[names.ANNOTATION_CONFIG], "local.d/rbl.conf: line: 1, column: 1 - unexpected 'hush'")
    world.says[world.put_pod(number=2)] = PodReport(None, refused=quoted)
    world.look()

    assert world.condition("Stalled")[:2] == ("True", "ConfigRefused")
    assert "local.d/rbl.conf: line: 1" in world.status()["config"]["error"]
    assert "hush" not in json.dumps([found for (kind, *_), found in world.cluster.objects.items() if kind != "Secret"])


def test_scores_and_keys_go_live_although_raw_text_is_bad(proven: World) -> None:
    proven.found = "bad"
    proven.apply(**raw("bad"))
    proven.look()
    proven.look()
    proven.apply(**raw("bad", actions={"reject": 12}, domains=[{"name": "example.org"}]))
    for _ in range(3):
        proven.look()

    assert "reject = 12;" in data(proven, "mx-metrics")["override.d_actions.conf"]
    assert "example.org" in data(proven, "mx-modules")["override.d_mailfilter.conf"]
    assert data(proven, "mx-files") == {KEY: "good"}


@pytest.mark.parametrize("lost", [("ConfigMap", "mx-files"), ("Secret", "mx-credentials")], ids=["files", "secrets"])
def test_refused_text_does_not_serve_when_the_last_good_one_is_lost(
    proven: World, lost: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the credentials the salt is lost, and with it the name of what was refused."""
    monkeypatch.setattr(passwords, "generate_salt", lambda: "a5" * 32)
    proven.found = "bad"
    proven.apply(**raw("bad"))
    proven.look()
    proven.look()
    proven.cluster.remove(lost[0], "mail", lost[1])
    for _ in range(4):
        proven.look()
        assert data(proven, "mx-files") == {}

    assert proven.condition("ConfigApplied")[:2] == ("False", "ConfigRefused")
    assert proven.written() == []
    proven.found = None
    proven.apply(**raw("corrected"))
    proven.look()
    proven.look()
    assert data(proven, "mx-files") == {KEY: "corrected"}


def test_good_text_goes_on_when_what_is_made_of_it_is_lost(proven: World) -> None:
    proven.cluster.remove("ConfigMap", "mail", "mx-files")
    serving = told(proven)
    proven.look()

    assert data(proven, "mx-files")[KEY] == "good"
    assert told(proven) == serving
    proven.look()
    proven.look()
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


def test_half_of_one_text_with_half_of_another_does_not_pass_for_proven(world: World) -> None:
    """A pass ends between the ConfigMap and the Secret, and the spec changes before the next one."""
    world.apply(**with_secret(world, "old", "old"))
    for _ in range(2):
        world.look()
    world.roll_out()
    for _ in range(2):
        world.look()
    world.apply(**with_secret(world, "new", "new"))
    world.look()

    def end(moment: str) -> None:
        if moment == "after" and world.cluster.writes[-1] == ("apply", "ConfigMap/mx-files"):
            raise EndError

    world.cluster.on_write = end
    with pytest.raises(EndError):
        world.look()
    world.cluster.on_write = lambda _: None
    assert data(world, "mx-files") == {KEY: "new"}
    world.tries = False
    world.apply(**with_secret(world, "newest", "newest"))
    world.look()

    assert names.UNPROVEN_KEY in data(world, "mx-files")
    assert data(world, "mx-files")[KEY] == "newest"


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

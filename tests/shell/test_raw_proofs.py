"""A proof of raw text, and a refusal, hold for what they were made with."""

from __future__ import annotations

import pytest
from tests.shell.raw_texts import KEY, data, raw, told, with_secret
from tests.shell.world import World

from mailfilter_operator import names
from mailfilter_operator.pod_reports import PodReport, Verdict
from mailfilter_operator.raw_plan import ASK_AGAIN_MS


@pytest.fixture
def refused(proven: World) -> World:
    """Provide a filter whose raw text was tried and refused beside the one that serves."""
    proven.found = "its test did not end in time; is there an endless loop?"
    proven.apply(**raw("new"))
    for _ in range(3):
        proven.look()
    assert proven.condition("Stalled")[:2] == ("True", "ConfigRefused")
    proven.found = None
    return proven


def test_another_image_is_asked_again_for_what_the_one_before_refused(refused: World) -> None:
    refused.image = "localhost/mailfilter:0.2.0"
    refused.look()
    assert names.ANNOTATION_CANDIDATE not in told(refused)  # it is not for the old image to say
    refused.cluster.remove("Pod", "mail", "mx-1")
    refused.roll_out()
    for _ in range(5):
        refused.look()

    assert data(refused, "mx-files") == {KEY: "new"}
    assert refused.condition("Ready")[0] == "True"
    assert refused.written() == []


def test_what_may_have_been_the_machines_fault_is_asked_again_after_a_while(refused: World) -> None:
    refused.now_ms += ASK_AGAIN_MS - 1
    assert refused.written() == []
    refused.now_ms += 1
    for _ in range(3):
        refused.look()

    assert data(refused, "mx-files") == {KEY: "new"}


def test_the_machines_fault_is_known_as_such_with_text_of_secrets_too(proven: World) -> None:
    proven.found = "rspamd does not start with it: hush"
    proven.apply(**with_secret(proven, "new", "hush"))
    proven.look()
    proven.look()
    proven.found = None
    proven.now_ms += ASK_AGAIN_MS
    proven.look()
    proven.look()

    assert data(proven, "mx-files") == {KEY: "new"}


def test_what_is_wrong_with_the_text_itself_is_not_asked_again(proven: World) -> None:
    proven.found = "the probe 'EICAR' is not treated as a virus"
    proven.apply(**raw("bad"))
    proven.look()
    proven.look()
    proven.found = None
    proven.now_ms += 10 * ASK_AGAIN_MS

    assert proven.written() == []


def test_a_new_domain_goes_live_at_once_and_each_pod_proves_the_raw_text_with_it(proven: World) -> None:
    proven.says["10.244.0.1"] = PodReport(told(proven)[names.ANNOTATION_CONFIG])
    proven.apply(**raw("good", domains=[{"name": "example.com"}, {"name": "example.org"}]))
    proven.look()
    wanted = told(proven)[names.ANNOTATION_CONFIG]

    assert data(proven, "mx-files") == {KEY: "good", names.UNPROVEN_KEY: wanted}
    assert "example.org" in data(proven, "mx-modules")["probes_expected"]
    proven.says.clear()
    proven.look()
    proven.look()
    assert data(proven, "mx-files") == {KEY: "good"}
    assert proven.condition("Ready")[0] == "True"
    assert proven.written() == []


def test_a_change_of_what_is_expected_that_is_taken_back_leaves_the_text_proven(proven: World) -> None:
    proven.says["10.244.0.1"] = PodReport(told(proven)[names.ANNOTATION_CONFIG])
    proven.apply(**raw("good", actions={"reject": "Disabled"}))
    proven.look()
    assert names.UNPROVEN_KEY in data(proven, "mx-files")
    proven.apply(**raw("good"))
    proven.look()

    assert data(proven, "mx-files") == {KEY: "good"}


def test_raw_text_that_fails_what_is_newly_expected_of_it_may_be_corrected(proven: World) -> None:
    domains = [{"name": "example.com"}, {"name": "example.org"}]
    before = told(proven)[names.ANNOTATION_CONFIG]
    proven.says["10.244.0.1"] = PodReport(before)
    proven.apply(**raw("good", domains=domains))
    proven.look()
    error = "the probe 'outgoing mail of probe@example.org' is not signed"
    proven.says["10.244.0.1"] = PodReport(before, refused=Verdict(told(proven)[names.ANNOTATION_CONFIG], error))
    proven.look()
    assert proven.condition("Stalled")[:2] == ("True", "ConfigRefused")
    assert data(proven, "mx-files")[KEY] == "good"
    proven.apply(**raw("better", domains=domains))
    proven.look()

    assert data(proven, "mx-files") == {KEY: "better", names.UNPROVEN_KEY: told(proven)[names.ANNOTATION_CONFIG]}
    proven.says.clear()
    for _ in range(3):
        proven.look()
    assert data(proven, "mx-files") == {KEY: "better"}


def test_with_another_expectation_the_last_good_text_serves_on_while_a_new_one_is_tried(proven: World) -> None:
    proven.tries = False
    proven.apply(**raw("new", domains=[{"name": "example.com"}, {"name": "example.org"}]))
    proven.look()

    assert data(proven, "mx-files") == {KEY: "good", names.UNPROVEN_KEY: told(proven)[names.ANNOTATION_CONFIG]}
    assert names.ANNOTATION_CANDIDATE in told(proven)
    proven.found, proven.tries = "bad", True
    for _ in range(4):
        proven.look()
    assert data(proven, "mx-files") == {KEY: "good"}
    assert "example.org" in data(proven, "mx-modules")["probes_expected"]
    assert proven.condition("Stalled")[:2] == ("True", "ConfigRefused")


def test_another_image_proves_the_raw_text_anew_and_pods_of_the_old_one_do_not_count(proven: World) -> None:
    proven.image = "localhost/mailfilter:0.2.0"
    soon = proven.look()
    marked = data(proven, "mx-files")
    assert marked.keys() == {KEY, names.UNPROVEN_KEY}
    assert soon is None or soon > 1
    assert proven.written() == []
    proven.put_pod(number=2)
    for _ in range(3):
        proven.look()

    assert data(proven, "mx-files") == {KEY: "good"}
    assert proven.written() == []

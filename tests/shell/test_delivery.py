"""A pass tells the pods what to serve when all is written, and asks them."""

from __future__ import annotations

from tests.shell.raw_texts import told
from tests.shell.world import World
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.delivery import FIRST_REMINDER_MS
from mailfilter_operator.pod_reports import PodReport, Verdict


def test_a_pod_is_told_last_and_a_converged_filter_is_left_in_peace(running: World) -> None:
    running.apply(domains=[{"name": "example.com"}, {"name": "example.org"}])
    written = running.written()

    assert [name for verb, name in written if verb == "annotate"] == ["Pod/mx-1"]
    assert [verb for verb, _ in written][-2:] == ["annotate", "apply_status"] or written[-2][0] == "apply_status"
    assert max(i for i, (verb, _) in enumerate(written) if verb == "apply") < written.index(("annotate", "Pod/mx-1"))
    running.look()  # what the pod signs, and what DNS says, is in status now
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

    assert running.condition("ConfigApplied")[:2] == ("False", "Delivering")
    assert running.written() == [("annotate", "Pod/mx-1"), ("apply_status", "MailFilter/mx")]
    assert soon is not None
    assert soon < 1
    assert running.condition("ConfigApplied")[:2] == ("False", "NotAnswering")


def test_one_missed_answer_of_a_filter_at_rest_causes_no_write(running: World) -> None:
    running.now_ms += 10**8
    running.says["10.244.0.1"] = None
    assert running.written() == []
    soon = running.look()
    assert soon is not None
    assert soon < 2
    assert running.written() == [("annotate", "Pod/mx-1"), ("apply_status", "MailFilter/mx")]
    assert running.condition("Ready")[:2] == ("False", "NotAnswering")
    running.says.clear()
    running.look()
    assert running.condition("Ready")[0] == "True"


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
        "refusedImage": samples.IMAGE,
        "error": "override.d/actions.conf: line: 2, column: 5",
    }
    assert running.events()[-1] == "ConfigRefused"

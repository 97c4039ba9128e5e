"""`Signing` claims what pods have shown, and no longer than there are any."""

from __future__ import annotations

from tests.shell.world import World

NOT_SHOWN = ("Unknown", "NotObserved", "No pod is ready, so that none can sign a probe mail.")
NOT_ASKED = ("Unknown", "NotObserved", "Not every ready pod has been asked to sign a probe mail yet.")


def test_nothing_is_claimed_while_no_pod_is_ready(running: World) -> None:
    assert running.condition("Signing")[:2] == ("True", "Verified")
    running.put_pod(ready=False)
    running.look()
    assert running.condition("Signing") == NOT_SHOWN
    running.restart()
    assert running.written() == []

    running.put_pod(ready=True)
    running.look()
    assert running.condition("Signing") == NOT_ASKED
    running.look()
    assert running.condition("Signing")[:2] == ("True", "Verified")


def test_pod_that_was_not_ready_for_a_while_need_not_sign_again(running: World) -> None:
    running.put_pod(ready=False)
    running.look()
    running.probed.clear()
    running.put_pod(ready=True)
    running.look()

    assert running.condition("Signing")[:2] == ("True", "Verified")
    assert running.probed == []


def test_nothing_is_claimed_while_no_pod_answers(running: World) -> None:
    running.says["10.244.0.1"] = None
    for _ in range(3):
        running.look()
    assert running.condition("Signing")[:2] == ("Unknown", "NotObserved")
    assert "answers" in running.condition("Signing")[2]
    running.says.clear()
    running.look()

    assert running.condition("Signing")[:2] == ("True", "Verified")


def test_restart_of_the_operator_is_no_reason_for_doubt(running: World) -> None:
    running.restart()
    running.look()

    assert running.condition("Signing")[:2] == ("True", "Verified")

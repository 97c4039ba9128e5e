"""What rspamd says against text of Secrets is told without that text."""

from __future__ import annotations

import pytest
from tests.image.conftest import files, place_database, wait_ready
from tests.image.pod import Pod, wait_until, write_candidate

QUOTED = {"local.d/rbl.conf": 'enabled = false;\n.hunter2 "text"\n'}
"""rspamd quotes the name of a macro that it does not know."""
MAP = {"local.d/multimap.conf": 'OWN { type = "from"; map = "htp://user:hunter2@example.net/"; }\n'}
"""rspamd quotes what is no protocol."""
CONTROLLER = {"override.d/worker-controller.inc": files()["override.d/worker-controller.inc"]}
"""The operator's own, in the same Secret."""


def everything_told(pod: Pod) -> str:
    """Log, termination message and report."""
    log = next(container for container in pod.containers if container.log.name == "rspamd.log").output()
    return log + (pod.directory / "rspamd/termination-log").read_text() + str(pod.state())


def public() -> dict[str, str]:
    return {path: text for path, text in files().items() if path not in CONTROLLER}


def test_a_refused_configuration_with_text_of_secrets_is_told_by_its_place(pod: Pod) -> None:
    write_candidate(pod.candidate, public(), secret={**QUOTED, **CONTROLLER})
    pod.start("rspamd")
    wait_until(lambda: pod.state().get("refused") is not None, 20, "the refusal")

    assert "local.d/rbl.conf:2 (more is not shown" in pod.state()["refused"]["error"]
    assert "hunter2" not in everything_told(pod)


def test_without_text_of_secrets_all_is_told(pod: Pod) -> None:
    """What is for freshclam alone rspamd does not have, so that it cannot quote it."""
    way_out = {"freshclam/proxy.conf": "HTTPProxyPassword x\n", "freshclam/ca.pem": "y\n"}
    write_candidate(pod.candidate, {**public(), **QUOTED}, secret={**CONTROLLER, **way_out})
    pod.start("rspamd")
    wait_until(lambda: pod.state().get("refused") is not None, 20, "the refusal")

    assert "unknown macro: 'hunter2'" in pod.state()["refused"]["error"]
    assert not list((pod.directory / "rspamd/memory").rglob("freshclam"))


@pytest.mark.parametrize("secret", [QUOTED, MAP], ids=["configtest", "start"])
def test_a_trial_with_text_of_secrets_is_told_without_it(pod: Pod, secret: dict[str, str]) -> None:
    place_database(pod)
    write_candidate(pod.candidate, public(), secret=CONTROLLER, tried=public(), tried_secret={**CONTROLLER, **secret})
    pod.start("rspamd")
    pod.start("clamd")
    wait_ready(pod, "rspamd", "clamd")
    wait_until(lambda: pod.state().get("trial") is not None, 60, "the verdict")

    assert "more is not shown" in pod.state()["trial"]["error"]
    assert "hunter2" not in everything_told(pod)

"""What a pod says of a trial is never half of it: a refusal must not look like a proof."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

STATE = Path(__file__).parents[2] / "image" / "bin" / "www" / "cgi-bin" / "state"
METRICS = STATE.with_name("metrics")
HASH = "ab" * 32


def read_report(environment: dict[str, str]) -> dict[str, Any]:
    """The JSON that the program writes."""
    answer = subprocess.run(["sh", STATE], env=environment, capture_output=True, text=True, check=True).stdout
    report: dict[str, Any] = json.loads(answer[answer.index("{") :])
    return report


def test_nothing_is_known_of_sources_before_they_are_asked(tmp_path: Path) -> None:
    report = read_report({"PATH": os.environ["PATH"], "MAILFILTER_CLAMAV_RUN": str(tmp_path)})
    assert report["sources"] == []
    assert report["loaded"] == {"time": None, "databases": [], "error": None}


def test_words_of_strangers_in_the_state_of_a_source_are_one_line_of_text(tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "0123").write_text(
        'name a"b\\c.ndb\nsuccess 1795700000\nfailure x1\nerror \x1b[31m"\tquote\\\nretry 99999999999999999999\n'
    )
    (tmp_path / "sources" / "official").write_text("name official\ndatabases daily.cvd:3:1624408800 main.cvd:2:5\n")
    (tmp_path / "loaded").write_text("time 1795700001\ndatabases daily.cvd main.cvd \nerror \n")
    report = read_report({"PATH": os.environ["PATH"], "MAILFILTER_CLAMAV_RUN": str(tmp_path)})
    custom, official = report["sources"]
    assert custom == {
        "name": 'a"b\\c.ndb',
        "lastSuccess": 1795700000,
        "lastFailure": None,
        "error": '[31m" quote\\',
        "retryAfter": None,
        "refused": None,
        "databases": [],
    }
    assert official["databases"] == ["daily.cvd:3:1624408800", "main.cvd:2:5"]
    assert report["loaded"] == {"time": 1795700001, "databases": ["daily.cvd", "main.cvd"], "error": None}


def test_metrics_of_signatures_are_among_those_of_rspamd(tmp_path: Path) -> None:
    """Before the line that ends them; what is not known is left out."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "0123").write_text("name local.ndb\nfailure 1795700000\nerror not there\n")
    (tmp_path / "sources" / "official").write_text(
        "name official\nsuccess 1795700000\nrefused no\ndatabases daily.cvd:3:1624408800 main.cvd:2:5\n"
    )
    wget = tmp_path / "wget"
    wget.write_text("#!/bin/sh\nprintf 'rspamd_scanned_total 1\\n# EOF\\n'\n")
    wget.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "MAILFILTER_CLAMAV_RUN": str(tmp_path)}
    answer = subprocess.run(["sh", METRICS], env=environment, capture_output=True, check=True).stdout.decode()
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("Content-Type: application/openmetrics-text")
    lines = body.splitlines()
    assert lines[0] == "rspamd_scanned_total 1"
    assert lines[-1] == "# EOF"
    assert lines.count("# EOF") == 1
    assert [line for line in lines[1:] if not line.startswith("#")] == [
        'mailfilter_signature_last_check_seconds{source="official"} 1795700000',
        'mailfilter_signature_check_failed{source="local.ndb"} 1',
        'mailfilter_signature_check_failed{source="official"} 0',
        'mailfilter_signature_database_refused{source="local.ndb"} 0',
        'mailfilter_signature_database_refused{source="official"} 1',
        'mailfilter_signature_build_time_seconds{database="daily.cvd"} 1624408800',
        'mailfilter_signature_build_time_seconds{database="main.cvd"} 5',
    ]


@pytest.mark.parametrize("name", ["trial", "refused"])
def test_refusal_that_is_forgotten_while_it_is_read_is_told_whole(tmp_path: Path, name: str) -> None:
    """The file goes as soon as its first line was read."""
    (tmp_path / name).write_text(f"{HASH}\nlocal.d/rbl.conf: line: 1\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    head = programs / "head"
    head.write_text(f'#!/bin/sh\n{shutil.which("head")} "$@"\nrm -f {tmp_path / name}\n')
    head.chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "MAILFILTER_RUN": str(tmp_path)}
    assert read_report(environment)[name] == {"hash": HASH, "error": "local.d/rbl.conf: line: 1"}


def test_the_turn_to_load_databases_is_told(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "MAILFILTER_CLAMAV_RUN": str(tmp_path)}
    assert read_report(environment)["reload"] == {"waiting": None, "loading": None}
    (tmp_path / "reload").write_text("waiting 1795704000\n")
    assert read_report(environment)["reload"] == {"waiting": 1795704000, "loading": None}
    (tmp_path / "reload").write_text("loading 1795704000\n")
    assert read_report(environment)["reload"] == {"waiting": None, "loading": 1795704000}

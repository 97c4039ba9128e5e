"""What a pod says of a trial is never half of it: a refusal must not look like a proof."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

STATE = Path(__file__).parents[2] / "image" / "bin" / "www" / "cgi-bin" / "state"
HASH = "ab" * 32


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
    answer = subprocess.run(["sh", STATE], env=environment, capture_output=True, text=True, check=True).stdout
    report = json.loads(answer.partition("\n\n")[2] or answer.partition("\r\n\r\n")[2])

    assert report[name] == {"hash": HASH, "error": "local.d/rbl.conf: line: 1"}

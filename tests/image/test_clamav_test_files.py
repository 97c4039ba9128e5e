"""ClamAV's own test files are found in mail, whatever they are packed in, with a signature of a custom URL."""

from __future__ import annotations

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.image.answering import PORT, Answer, Answers
from tests.image.conftest import wait_ready
from tests.image.messages import with_attachment
from tests.image.pod import Pod, write_candidate
from tests.image.test_rendered import configure, public_files
from tests.mail import clamav_test_files
from tests.unit import samples

SIGNATURE = "ClamAV-Test-File"
DATABASE = "test.hdb"


def test_all_test_files_of_clamav_are_found(pod: Pod) -> None:
    """By the hash of the one program that is in all of them."""
    files = clamav_test_files.read_all()
    program = files[clamav_test_files.PROGRAM]
    answers = Answers(pod.directory / "answers")
    digest = hashlib.md5(program).hexdigest()  # noqa: S324 - the format's own
    answers.choose({DATABASE: Answer(f"{digest}:{len(program)}:{SIGNATURE}\n".encode())})
    server = (sys.executable, "-m", "tests.image.answering", "127.0.0.1", str(PORT), str(answers.directory))
    pod.start_outside("www", *server)
    signatures = {"source": "CustomOnly", "customURLs": [f"http://127.0.0.1:{PORT}/{DATABASE}"]}
    antivirus = {"onUnofficial": "Reject", "signatures": signatures}
    configuration = configure({"antivirus": antivirus})
    write_candidate(pod.candidate, public_files(configuration, {}), secret=configuration.credentials, salt=samples.SALT)
    for name in ("freshclam", "clamd", "rspamd"):
        pod.start(name)
    wait_ready(pod, "rspamd", "clamd")

    def scan(name: str) -> str:
        return pod.scan(with_attachment(name, files[name])).reply

    with ThreadPoolExecutor(2) as threads:
        replies = dict(zip(files, threads.map(scan, files), strict=True))
    # Debian's package leaves out those of them that are packed with RAR.
    assert len(replies) >= 44
    expected = f"554 5.7.1 Virus found: {SIGNATURE}.UNOFFICIAL"
    assert {name: reply for name, reply in replies.items() if reply != expected} == {}

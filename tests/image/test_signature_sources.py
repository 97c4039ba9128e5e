"""freshclam's container goes over to another configuration while it runs."""

from functools import partial
from pathlib import Path

from tests.image.conftest import files
from tests.image.pod import Pod, wait_until, write_candidate
from tests.image.test_failures import FRESHCLAM, custom, pattern, serve

ALONE = files()[FRESHCLAM].replace(custom("demo.ndb"), "")


def offer(pod: Pod, *names: str, text: str = ALONE) -> str:
    """Offers the custom databases of these names; the hash of the configuration."""
    return write_candidate(pod.candidate, files({FRESHCLAM: text + "".join(map(custom, names))}))


def lives_alone(memory: Path, wanted: str) -> bool:
    """Whether the configuration of this hash is live, and the only copy."""
    copies = [path.name for path in (memory / "candidates").iterdir()]
    return (memory / "live").readlink().name == wanted and copies == [wanted]


def test_a_database_goes_with_its_source_once_the_others_are_there(pod: Pod) -> None:
    offer(pod, "first.ndb", "second.ndb")
    answers = {f"{name}.ndb": (200, pattern(name)) for name in ("first", "second")}
    server = serve(pod, answers)
    container = pod.start("freshclam")
    for name in answers:
        wait_until((pod.databases / name).exists, 20, name)
    offer(pod, "second.ndb", "third.ndb")
    wait_until(lambda: server.output().count("/third.ndb") >= 3, 30, "the third database asked for again")
    assert (pod.databases / "first.ndb").exists()
    server.kill()
    serve(pod, {**answers, "third.ndb": (200, pattern("third"))})
    wait_until((pod.databases / "third.ndb").exists, 30, "the third database")
    wait_until(lambda: not (pod.databases / "first.ndb").exists(), 15, "the first database gone")
    assert sorted(path.name for path in pod.databases.glob("*.ndb")) == ["second.ndb", "third.ndb"]
    assert len(list(pod.databases.glob("custom/*"))) == 2
    assert container.running()


def test_official_databases_go_with_the_mirror(pod: Pod) -> None:
    for name in ("daily.cvd", "main.cld", "second.ndb"):
        (pod.databases / name).write_text("of before\n")
    offer(pod, "first.ndb")
    serve(pod, {"first.ndb": (200, pattern("first"))})
    pod.start("freshclam")
    wait_until(lambda: not (pod.databases / "second.ndb").exists(), 20, "databases of before gone")
    assert sorted(path.name for path in pod.databases.glob("*.*")) == ["first.ndb"]


def test_changes_that_do_not_concern_it_leave_no_copies_and_no_trace(pod: Pod) -> None:
    offer(pod, "first.ndb")
    serve(pod, {"first.ndb": (200, pattern("first"))})
    container = pod.start("freshclam")
    wait_until((pod.databases / "first.ndb").exists, 20, "the database")
    before = container.output()
    memory = pod.directory / "freshclam/memory"
    for number in range(3):
        changed = {"override.d/actions.conf": f"reject = {20 + number};\n"}
        wanted = write_candidate(pod.candidate, files({FRESHCLAM: ALONE + custom("first.ndb"), **changed}))
        wait_until(partial(lives_alone, memory, wanted), 15, "the change taken, and no other copy")
    assert container.output() == before

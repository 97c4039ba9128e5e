"""A record is published if every verifier finds it, wherever it asks, and reads in it what ours says."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.unit import samples

from mailfilter_operator.dkim.published import Answer, Look, Publication, judge_dkim

KEY = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQD+/Kz0"
VALUE = f"v=DKIM1; k=rsa; p={KEY}"
ED25519 = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
BASE64 = string.ascii_letters + string.digits + "+/"
SPACE = st.sampled_from(["", " ", "\t", " \r\n\t"])
TEXT = st.text(st.sampled_from("vpkhst=;: \t\n\x00aM1+/\u00a0\u00e9\u202e"), max_size=40)
NEGATIVE_TTL = 60


def answers(*said: tuple[str, ...] | None, ttl: int = 300) -> tuple[Answer, ...]:
    """What ns1, ns2 and so on said, one after the other."""
    return tuple(Answer(f"ns{n}. (192.0.2.{n})", texts, ttl) for n, texts in enumerate(said, 1))


def judge(*said: tuple[str, ...] | None, value: str = VALUE) -> Publication:
    return judge_dkim(value, Look("s._domainkey.example.com", samples.NOW, answers(*said), NEGATIVE_TTL))


def judge_text(text: str, value: str = VALUE) -> str:
    return judge((text,), (text,), value=value).state


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """Texts that mean what VALUE means: tags in any order, white space, tags that allow our use or mean nothing."""
    optional = {"h": "sha1:sha256", "s": "email", "t": "", "n": "a note, =with= signs", "g": "*", "x_9": "a:b"}
    tags = {"p": KEY, **{tag: optional[tag] for tag in draw(st.sets(st.sampled_from(sorted(optional))))}}
    if draw(st.booleans()):
        tags["k"] = "rsa"
    order = draw(st.permutations(sorted(tags)))
    first = ["v"] if draw(st.booleans()) else []
    # Folding white space may stand anywhere in a key.
    places = draw(st.lists(st.integers(0, len(KEY)), max_size=3))
    key = "".join((" " if place in places else "") + letter for place, letter in enumerate(KEY))
    written = {**tags, "v": "DKIM1", "p": key}
    parts = [f"{draw(SPACE)}{tag}{draw(SPACE)}={draw(SPACE)}{written[tag]}{draw(SPACE)}" for tag in [*first, *order]]
    return ";".join(parts) + (";" + draw(SPACE) if draw(st.booleans()) else "")


@given(spellings(), spellings())
def test_order_white_space_and_tags_without_meaning_change_nothing(one: str, other: str) -> None:
    assert judge((one,), (other,)) == Publication("Published", None, (), NEGATIVE_TTL)


@given(st.integers(0, len(KEY) - 1), st.sampled_from(BASE64))
def test_any_other_letter_of_the_key_is_another_key(place: int, letter: str) -> None:
    assume(KEY[place] != letter)

    assert judge_text(f"v=DKIM1; k=rsa; p={KEY[:place]}{letter}{KEY[place + 1 :]}") == "Different"


@given(st.integers(0, len(KEY) - 1))
def test_a_key_with_a_letter_less_is_another_key(place: int) -> None:
    assert judge_text(f"v=DKIM1; p={KEY[:place]}{KEY[place + 1 :]}") == "Different"


@given(TEXT)
def test_no_text_without_the_key_is_taken_for_it(text: str) -> None:
    assume(KEY not in "".join(text.split()))

    assert judge_text(text) == "Different"


@pytest.mark.parametrize(
    "text",
    [
        f"p={KEY}",
        f"v=DKIM1;p={KEY}",
        f"v=DKIM1; p={KEY}; h=sha256",
        f"v=DKIM1; p={KEY}; h = sha1 : sha256",
        f"v=DKIM1; p={KEY}; s=*",
        f"v=DKIM1; p={KEY}; s=other:email",
        f"v=DKIM1; p={KEY}; t=z",
        f"v=DKIM1; p={KEY};",
    ],
)
def test_record_that_allows_our_use_is_published(text: str) -> None:
    assert judge_text(text) == "Published"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("v=DKIM1; k=rsa; p=", id="revoked"),
        pytest.param("v=DKIM1; k=rsa", id="without a key"),
        pytest.param(f"v=DKIM1; k=ed25519; p={KEY}", id="another algorithm"),
        pytest.param(f"v=DKIM1; k=RSA; p={KEY}", id="values have a case"),
        pytest.param(f"v=DKIM2; p={KEY}", id="another version"),
        pytest.param(f"k=rsa; v=DKIM1; p={KEY}", id="the version is not first"),
        pytest.param(f"V=DKIM1; P={KEY}", id="tags have a case"),
        pytest.param(f"v=DKIM1; p={KEY}; t=y", id="testing"),
        pytest.param(f"v=DKIM1; p={KEY}; t=s", id="not for subdomains"),
        pytest.param(f"v=DKIM1; p={KEY}; t = z : y", id="testing among others"),
        pytest.param(f"v=DKIM1; p={KEY}; h=sha1", id="not with SHA-256"),
        pytest.param(f"v=DKIM1; p={KEY}; h=", id="with no hash"),
        pytest.param(f"v=DKIM1; p={KEY}; s=tlsrpt", id="not for mail"),
        pytest.param(f"v=DKIM1; p={KEY}; p={KEY}", id="a tag twice"),
        pytest.param(f"v=DKIM1; n=a; p={KEY}; n=b", id="a tag without meaning twice"),
        pytest.param(f"v=DKIM1;; p={KEY}", id="an empty tag"),
        pytest.param(f"v=DKIM1 p={KEY}", id="a semicolon is missing"),
        pytest.param(f"v=DKIM1; p={KEY}; n=caf\u00e9", id="not ASCII"),
        pytest.param(f"v=DKIM1; p={KEY[:9]}\u00a0{KEY[9:]}", id="white space that does not fold"),
        pytest.param(f'"v=DKIM1; p={KEY}"', id="with quotation marks"),
        pytest.param(f"v=DKIM1\\; p={KEY}", id="with a backslash"),
    ],
)
def test_record_that_does_not_allow_our_use_is_different_and_shown(text: str) -> None:
    verdict = judge((text,), (text,))

    assert (verdict.state, verdict.observed) == ("Different", text.replace("\u00a0", "\ufffd"))


def test_algorithm_that_is_left_out_is_rsa() -> None:
    assert judge_text(ED25519, ED25519) == "Published"
    assert judge_text(ED25519.replace("k=ed25519; ", ""), ED25519) == "Different"


@pytest.mark.parametrize("value", ["v=DKIM1; k=rsa; p=", "no tags"])
def test_record_without_a_key_is_never_published(value: str) -> None:
    assert judge_text(value, value) == "Different"


@pytest.mark.parametrize(
    ("said", "state", "silent"),
    [
        ([(VALUE,), (VALUE,)], "Published", ()),
        ([(VALUE,)], "Published", ()),
        ([(VALUE,), None], "Unknown", (2,)),
        ([(VALUE,), (VALUE,), None], "Published", (3,)),
        ([None, None], "Unknown", (1, 2)),
        ([None], "Unknown", (1,)),
        ([], "Unknown", ()),
        ([(), ()], "Missing", ()),
        ([(), None, ()], "Missing", (2,)),
        ([(), None], "Unknown", (2,)),
        ([(VALUE,), ()], "Different", ()),
        ([(VALUE, "v=spf1 -all"), (VALUE, "v=spf1 -all")], "Duplicate", ()),
        ([(VALUE, VALUE + ";")], "Duplicate", ()),
        ([(VALUE, "v=spf1 -all"), (VALUE,)], "Different", ()),
        ([("a", "b"), ("a", "b")], "Different", ()),
    ],
)
def test_every_server_that_answers_counts_and_at_least_two_or_all(
    said: list[tuple[str, ...] | None], state: str, silent: tuple[int, ...]
) -> None:
    verdict = judge(*said)

    assert (verdict.state, verdict.silent) == (state, tuple(f"ns{n}. (192.0.2.{n})" for n in silent))


def test_addresses_of_one_server_are_one_server() -> None:
    """One that answers at one of two addresses has answered; one of two servers is not enough, whatever addresses."""
    ours = tuple(Answer(f"ns1. ({address})", (VALUE,), 300) for address in ("192.0.2.1", "2001:db8::1"))
    deaf = Answer("ns1. (2001:db8::1)", None, 0, "no answer in time")
    other = Answer("ns2. (192.0.2.2)", None, 0, "no answer in time")

    looks = [Look("s", samples.NOW, said, NEGATIVE_TTL) for said in ((ours[0], deaf), (*ours, other))]
    assert [judge_dkim(VALUE, look).state for look in looks] == ["Published", "Unknown"]


@pytest.mark.parametrize(
    ("behind", "state"),
    [([(VALUE,), (VALUE,)], "Published"), ([(VALUE,), None], "Unknown"), ([(VALUE,), ()], "Different")],
)
@pytest.mark.parametrize("last", ["alias", "none", "silent"])
def test_behind_an_alias_and_before_it_enough_servers_have_to_answer(
    behind: list[tuple[str, ...] | None], state: str, last: str
) -> None:
    second = {
        "alias": Answer("ns2.", None, 900, alias="t."),
        "none": Answer("ns2.", (), 60),
        "silent": Answer("ns2.", None, 0, "no answer in time"),
    }
    targets = [Answer(f"ns{n}.t.", texts, 300, asked="t.") for n, texts in enumerate(behind, 1)]
    said = (Answer("ns1.", None, 900, alias="t."), second[last], *targets)
    expected = {"alias": state, "none": "Unknown" if state == "Unknown" else "Different", "silent": "Unknown"}

    assert judge_dkim(VALUE, Look("s", samples.NOW, said, NEGATIVE_TTL)).state == expected[last]


def test_look_that_failed_says_nothing_whatever_the_answers() -> None:
    look = Look("s", samples.NOW, answers((VALUE,), (VALUE,)), NEGATIVE_TTL, "the aliases come back")

    assert judge_dkim(VALUE, look).state == "Unknown"


@given(st.lists(st.tuples(st.sampled_from([(VALUE,), (), ("other",), None]), st.integers(0, 9999)), min_size=1))
def test_wait_is_as_long_as_any_cache_may_have_something_else(said: list[tuple[tuple[str, ...] | None, int]]) -> None:
    found = tuple(Answer(f"ns{n}.", texts, ttl) for n, (texts, ttl) in enumerate(said))
    other = [ttl for texts, ttl in said if texts in ((), ("other",))]

    assert judge_dkim(VALUE, Look("s", samples.NOW, found, NEGATIVE_TTL)).wait == max([NEGATIVE_TTL, *other])


@pytest.mark.parametrize(("text", "wait"), [(VALUE, NEGATIVE_TTL), ("other", 900)])
def test_alias_to_another_record_is_waited_out(text: str, wait: int) -> None:
    said = (Answer("ns1.", None, 900, alias="t."), Answer("ns1.t.", (text,), 300, asked="t."))

    assert judge_dkim(VALUE, Look("s", samples.NOW, said, NEGATIVE_TTL)).wait == wait


def test_servers_that_disagree_are_told_with_what_each_has() -> None:
    long = "v=DKIM1; p=" + "x" * 500

    assert judge((VALUE,), (), (long,), (VALUE,), (VALUE, "more")).observed == (
        "ns1. (192.0.2.1), ns4. (192.0.2.4): the right record; ns2. (192.0.2.2): no record; "
        f"ns3. (192.0.2.3): {long[:79]}…; ns5. (192.0.2.5): more | {VALUE}"
    )


def test_servers_that_write_the_record_differently_do_not_disagree() -> None:
    assert judge((VALUE,), (f"p={KEY}",)).state == "Published"


@given(st.lists(TEXT, min_size=1, max_size=3), st.lists(st.builds(str.__mul__, TEXT, st.just(100)), max_size=3))
def test_what_is_there_is_told_in_few_printable_characters(one: list[str], other: list[str]) -> None:
    observed = judge(tuple(one), tuple(other)).observed

    assert observed is not None
    assert len(observed) <= 1024
    assert observed.isprintable()

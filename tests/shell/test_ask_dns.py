"""Name servers are asked themselves, all of them, and what they say is told as it is: real BIND on loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.query
import pytest
from tests.dns.named import PORT, Named
from tests.dns.zones import FIRST, HUGE, LONG, NOBODY, RESOLVER, SECOND, build_first, build_second
from tests.unit import samples

from mailfilter_operator import ask_dns
from mailfilter_operator.ask_dns import AskDns
from mailfilter_operator.dkim.published import Look, judge_dkim


class Servers(NamedTuple):
    """Two with zones that do not agree on everything, and the resolver by which they are found."""

    first: Named
    second: Named
    resolver: Named


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Provide them, running."""
    directory = tmp_path_factory.mktemp("dns")
    first = Named(directory / "first", FIRST, build_first())
    second = Named(directory / "second", SECOND, build_second())
    forwards = {zone: FIRST if zone in first.zones else SECOND for zone in (*second.zones, *first.zones)}
    found = Servers(first, second, Named(directory / "resolver", RESOLVER, {}, forwards))
    with ExitStack() as stack:
        for server in found:
            stack.callback(server.stop)
            server.start()
        yield found


@pytest.fixture(scope="module")
def ask(servers: Servers) -> AskDns:
    """Provide one that knows no resolver but that of the tests, which asks others at the same port."""
    assert servers
    return AskDns(lambda: samples.NOW, PORT, (RESOLVER,))


def look(ask: AskDns, name: str, *resolvers: str) -> Look:
    return ask([name], resolvers)[name]


def said(found: Look) -> list[tuple[str, tuple[str, ...] | str | None]]:
    """Who said what: texts, the name it stands for, or why nothing."""
    return [(answer.server, answer.failure or answer.alias or answer.texts) for answer in found.answers]


NS1, NS2, NS3, NS4 = (f"ns{n}.test. ({a})" for n, a in enumerate((FIRST, SECOND, RESOLVER, NOBODY), 1))


def test_record_is_found_on_every_server_of_the_zone(ask: AskDns) -> None:
    found = look(ask, "s1._domainkey.two.test")

    assert said(found) == [(NS1, (LONG,)), (NS2, (LONG,))]
    assert (found.name, found.at, found.failure) == ("s1._domainkey.two.test", samples.NOW, None)
    assert [answer.ttl for answer in found.answers] == [200, 200]
    assert judge_dkim(LONG, found).state == "Published"


def test_negative_time_is_the_longest_that_a_server_tells_also_if_there_is_a_record(ask: AskDns) -> None:
    """The smaller one of the SOA record's own time to live and its last field: 45 at the first, 50 at the second."""
    assert look(ask, "s1._domainkey.two.test").negative_ttl == 50


def test_record_on_one_of_two_servers_is_told(ask: AskDns) -> None:
    verdict = judge_dkim(LONG, look(ask, "half._domainkey.two.test"))

    assert (verdict.state, verdict.observed) == ("Different", f"{NS1}: the right record; {NS2}: no record")


def test_servers_with_different_records_are_told(ask: AskDns) -> None:
    verdict = judge_dkim(LONG, look(ask, "other._domainkey.two.test"))

    assert verdict.state == "Different"
    assert verdict.observed is not None
    assert verdict.observed.startswith(f"{NS1}: the right record; {NS2}: v=DKIM1; k=rsa; p=CCC")
    assert verdict.wait == 200


def test_record_that_is_missing_has_the_negative_time_of_each_server(ask: AskDns) -> None:
    found = look(ask, "none._domainkey.two.test")

    assert [(answer.texts, answer.ttl) for answer in found.answers] == [((), 45), ((), 50)]
    assert (judge_dkim(LONG, found).state, judge_dkim(LONG, found).wait) == ("Missing", 50)


def test_silent_servers_are_named_and_two_answers_are_enough_while_one_is_not(ask: AskDns) -> None:
    """Behind an alias, too."""
    looks = ask(["s1.three.test", "s1.silent.test", "alias._domainkey.two.test"], ())
    verdicts = [judge_dkim(LONG, found) for found in looks.values()]

    assert said(looks["s1.silent.test"]) == [(NS1, (LONG,)), (NS4, "no answer in time")]
    assert [verdict.state for verdict in verdicts] == ["Published", "Unknown", "Unknown"]
    assert [verdict.silent for verdict in verdicts] == [(NS4,)] * 3


def test_server_that_hangs_is_named_and_holds_up_only_the_first_names(ask: AskDns, servers: Servers) -> None:
    names = [f"n{number}._domainkey.two.test" for number in range(100)]
    servers.second.pause()
    try:
        begin = time.monotonic()
        found = ask(["s1._domainkey.two.test", *names], ())
    finally:
        servers.second.go_on()

    assert said(found["s1._domainkey.two.test"]) == [(NS1, (LONG,)), (NS2, "no answer in time")]
    assert {len(found[name].answers) for name in names} == {2}
    assert time.monotonic() - begin < 3 * ask_dns.QUERY_SECONDS * ask_dns.TRIES


def test_server_without_an_address_is_named(ask: AskDns) -> None:
    found = look(ask, "s1.homeless.test")

    assert said(found) == [(NS1, (LONG,)), ("ns9.test.", "it has no address")]
    assert judge_dkim(LONG, found).state == "Unknown"


def test_server_that_refuses_counts_for_nothing(ask: AskDns) -> None:
    assert said(look(ask, "s1.refused.test")) == [(NS1, (LONG,)), (NS2, "REFUSED")]


def test_server_that_fails_counts_for_nothing(ask: AskDns) -> None:
    assert said(look(ask, "s1.broken.test")) == [(NS1, (LONG,)), (NS2, "SERVFAIL")]


def test_server_that_answers_without_authority_counts_for_nothing(ask: AskDns) -> None:
    dns.query.udp(dns.message.make_query("s1.lame.test.", "TXT"), RESOLVER, 4, PORT)  # now its cache has it

    first, third = look(ask, "s1.lame.test").answers
    assert (first.server, first.texts) == (NS1, (LONG,))
    assert (third.server, third.texts) == (NS3, None)
    assert third.failure == "lame: it answers without authority for the zone"


def test_only_resolvers_are_asked_to_recurse(ask: AskDns, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = set()
    udp = dns.query.udp

    def note(query: dns.message.Message, where: str, *rest: float, **options: bool) -> dns.message.Message:
        asked.add((where, bool(query.flags & dns.flags.RD), query.payload))
        return udp(query, where, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(dns.query, "udp", note)
    look(ask, "s1._domainkey.one.test")

    assert asked == {(RESOLVER, True, 1232), (FIRST, False, 1232)}


def test_one_server_is_enough_where_there_is_one(ask: AskDns) -> None:
    assert judge_dkim(LONG, look(ask, "s1._domainkey.one.test")).state == "Published"


def test_record_that_is_larger_than_a_datagram_is_whole(ask: AskDns, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge_dkim(HUGE, look(ask, "huge._domainkey.one.test")).state == "Published"
    monkeypatch.setattr(dns.query, "tcp", lambda *_: pytest.fail("asked by TCP"))
    with pytest.raises(pytest.fail.Exception, match="asked by TCP"):
        look(ask, "huge._domainkey.one.test")


def test_server_that_is_not_reached_by_tcp_still_tells_short_records(
    ask: AskDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(*_: object) -> None:
        raise dns.exception.Timeout

    monkeypatch.setattr(dns.query, "tcp", wait)
    monkeypatch.setattr(ask_dns, "THREADS", 1)  # one after the other
    huge, short = ask(["huge._domainkey.one.test", "s1._domainkey.one.test"], ()).values()

    assert said(huge) == [(NS1, "its answer is too long for UDP, and by TCP none came in time")]
    assert said(short) == [(NS1, (LONG,))]


def test_address_without_a_route_is_left_out_where_there_is_another(
    ask: AskDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster without IPv6 does not tell every day that no server answers by IPv6."""
    monkeypatch.setattr(ask_dns, "_has_route", lambda address, _: address == FIRST)
    assert said(look(ask, "s1.six.test")) == [(f"ns6.test. ({FIRST})", (LONG,))]

    monkeypatch.setattr(ask_dns, "_has_route", lambda *_: False)
    monkeypatch.setattr(ask_dns, "QUERY_SECONDS", 0.3)
    assert len(look(ask, "s1.six.test").answers) == 2


def test_several_records_are_told(ask: AskDns) -> None:
    assert judge_dkim(LONG, look(ask, "twice._domainkey.one.test")).state == "Duplicate"


def test_alias_leads_to_all_servers_of_the_zone_that_it_points_into(ask: AskDns) -> None:
    found = look(ask, "s2._domainkey.one.test")

    assert said(found) == [(NS1, "s2.delegated.test."), (NS1, (LONG,)), (NS2, (LONG,))]
    assert [answer.asked for answer in found.answers] == ["", "s2.delegated.test.", "s2.delegated.test."]
    assert found.negative_ttl == 90
    assert judge_dkim(LONG, found).state == "Published"


def test_servers_that_disagree_behind_an_alias_are_told(ask: AskDns) -> None:
    verdict = judge_dkim(LONG, look(ask, "s3._domainkey.one.test"))

    assert (verdict.state, verdict.observed) == ("Different", f"{NS1}: the right record; {NS2}: no record")


def test_aliases_that_come_back_are_a_failure(ask: AskDns) -> None:
    found = look(ask, "loop.one.test")

    assert (found.answers, judge_dkim(LONG, found).state) == ((), "Unknown")
    assert found.failure == "the aliases (CNAME) of loop.one.test. come back to loop.one.test."


def test_circle_within_a_zone_is_no_answer(ask: AskDns) -> None:
    """BIND follows aliases within a zone, and gives up."""
    found = look(ask, "circle.one.test")

    assert (said(found), judge_dkim(LONG, found).state) == ([(NS1, "SERVFAIL")], "Unknown")


def test_eight_aliases_are_followed_and_nine_are_a_failure(ask: AskDns) -> None:
    looks = ask(["a1._domainkey.one.test", "a0._domainkey.one.test"], ())

    assert [judge_dkim(LONG, found).state for found in looks.values()] == ["Published", "Unknown"]
    assert "more than 8 aliases" in str(looks["a0._domainkey.one.test"].failure)


def test_record_behind_an_alias_into_nothing_is_missing(ask: AskDns) -> None:
    assert judge_dkim(LONG, look(ask, "out.one.test")).state == "Missing"


def test_name_below_a_zone_cut_is_asked_for_at_the_servers_of_that_zone(ask: AskDns) -> None:
    assert said(look(ask, "s1._domainkey.sub.one.test")) == [(NS2, (HUGE,))]


def test_domain_that_does_not_exist_has_no_record(ask: AskDns) -> None:
    found = look(ask, "s1._domainkey.gone.test")

    assert judge_dkim(LONG, found).state == "Missing"
    assert found.negative_ttl == 60


def test_resolvers_that_are_set_are_asked_in_place_of_the_zones_servers(
    ask: AskDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask_dns, "QUERY_SECONDS", 0.5)
    found = look(ask, "s2._domainkey.one.test", RESOLVER, f"{RESOLVER}:{PORT}", SECOND, "[::1]:9", "dns.example")

    assert said(found) == [
        (RESOLVER, (LONG,)),
        (f"{RESOLVER}:{PORT}", (LONG,)),
        (SECOND, "REFUSED"),
        ("[::1]:9", "no answer in time"),
        ("dns.example", "it has no address"),
    ]
    assert found.negative_ttl == 30
    assert judge_dkim(LONG, found).state == "Published"


def test_record_that_resolvers_do_not_find_is_missing_for_the_negative_time_of_the_zone(ask: AskDns) -> None:
    found = look(ask, "none._domainkey.one.test", RESOLVER, FIRST)
    verdict = judge_dkim(LONG, found)

    assert said(found) == [(RESOLVER, ()), (FIRST, ())]
    assert (verdict.state, verdict.wait) == ("Missing", 30)


@pytest.mark.parametrize("name", ["s1._domainkey.sub.one.test", "s2._domainkey.one.test"])
def test_server_that_does_not_resolve_has_not_said_that_there_is_no_record(ask: AskDns, name: str) -> None:
    """It refers to the servers of the zone below, or to another name."""
    ((_, failure),) = said(look(ask, name, FIRST))

    assert failure == "it refers to others in place of an answer: no resolver"


def test_without_any_name_server_nothing_is_known(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    assert servers
    monkeypatch.setattr(ask_dns, "QUERY_SECONDS", 0.2)
    found = look(AskDns(lambda: samples.NOW, PORT, (NOBODY,)), "s1._domainkey.two.test")

    assert (found.answers, judge_dkim(LONG, found).state) == ((), "Unknown")
    assert found.failure == f"the name servers of s1._domainkey.two.test. are not found: {NOBODY}: no answer in time"


@pytest.mark.parametrize("name", ["a..two.test", f"{'x' * 64}.two.test", "\u2603" * 70 + ".test"])
def test_name_that_is_none_is_a_failure(ask: AskDns, name: str) -> None:
    assert look(ask, name).failure


def test_many_names_are_looked_up_side_by_side(ask: AskDns) -> None:
    names = [f"n{number}._domainkey.two.test" for number in range(200)]
    found = ask(names, ())

    assert list(found) == names
    assert {judge_dkim(LONG, found[name]).state for name in names} == {"Missing"}


def test_time_for_all_names_is_limited(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    assert servers
    monkeypatch.setattr(ask_dns, "TOTAL_SECONDS", 1.0)
    names = [f"s1.n{number}.test" for number in range(100)]
    begin = time.monotonic()
    found = AskDns(lambda: samples.NOW, PORT, (NOBODY,))(names, ())

    assert {judge_dkim(LONG, found[name]).state for name in names} == {"Unknown"}
    assert time.monotonic() - begin < 1.0 + ask_dns.QUERY_SECONDS

"""What the tests' name servers hold: zones below `test`, on which two servers agree or not."""

from __future__ import annotations

from tests.dns.named import own_address

from mailfilter_operator.dkim.records import build_zone_line

FIRST, SECOND, RESOLVER, NOBODY = map(own_address, range(4))
LONG = "v=DKIM1; k=rsa; p=" + "A" * 392
"""As long as the record of a key of 2048 bits: two strings."""
HUGE = "v=DKIM1; k=rsa; p=" + "B" * 2400
"""Too long for a datagram of 1232 octets."""
OTHER = "v=DKIM1; k=rsa; p=" + "C" * 392
HEAD = """\
$TTL 300
@ {soa_ttl} IN SOA ns1.test. hostmaster.test. 1 3600 600 86400 {negative}
"""
GLUE = f"ns1.test. IN A {FIRST}\nns2.test. IN A {SECOND}\nns3.test. IN A {RESOLVER}\nns4.test. IN A {NOBODY}\n"
GLUE += f"ns6.test. IN A {FIRST}\nns6.test. IN AAAA 2001:db8::53\n"
SERVERS = {
    "two.test": (1, 2),
    "one.test": (1,),
    "silent.test": (1, 4),
    "three.test": (1, 2, 4),
    "refused.test": (1, 2),
    "lame.test": (1, 3),
    "broken.test": (1, 2),
    "homeless.test": (1, 9),
    "delegated.test": (1, 2),
    "half-silent.test": (2, 4),
    "sub.one.test": (2,),
    "six.test": (6,),
}
"""Numbers of the name servers of each zone; of 9 there is no address."""
CUTS = "".join(f"{zone}. IN NS ns{number}.test.\n" for zone, numbers in SERVERS.items() for number in numbers)


def build_zone(name: str, *lines: str, negative: int = 30, soa_ttl: int = 300) -> str:
    """The lines of a zone file."""
    own = "".join(f"@ IN NS ns{number}.test.\n" for number in SERVERS[name])
    return HEAD.format(negative=negative, soa_ttl=soa_ttl) + own + "".join(f"{line}\n" for line in lines)


def record(name: str, text: str = LONG) -> str:
    return build_zone_line(name, text, 200)


def build_first() -> dict[str, str]:
    chain = [f"a{n}._domainkey.one.test. IN CNAME a{n + 1}._domainkey.one.test." for n in range(9)]
    aliases = [
        "circle IN CNAME circle",
        "loop IN CNAME loop.delegated.test.",
        "out IN CNAME s1._domainkey.nowhere.test.",
        *chain,
    ]
    return {
        ".": "$TTL 300\n. IN SOA ns1.test. root.test. 1 3600 600 86400 60\n. IN NS ns1.test.\ntest. IN NS ns1.test.\n"
        + GLUE,
        "test": HEAD.format(negative=60, soa_ttl=300) + "@ IN NS ns1.test.\n" + GLUE + CUTS,
        "two.test": build_zone(
            "two.test",
            *map(record, ("s1._domainkey.two.test", "half._domainkey.two.test", "other._domainkey.two.test")),
            "alias._domainkey IN CNAME s1.half-silent.test.",
            negative=45,
        ),
        "one.test": build_zone(
            "one.test",
            *map(record, ("s1._domainkey.one.test", "twice._domainkey.one.test", "a9._domainkey.one.test")),
            record("twice._domainkey.one.test", "v=spf1 -all"),
            record("huge._domainkey.one.test", HUGE),
            record("odd._domainkey.one.test", OTHER),
            "s2._domainkey 100 IN CNAME s2.delegated.test.",
            "s3._domainkey IN CNAME s3.delegated.test.",
            *aliases,
            "sub IN NS ns2.test.",
        ),
        "delegated.test": build_zone(
            "delegated.test",
            *map(record, ("s2.delegated.test", "s3.delegated.test")),
            "loop IN CNAME loop.one.test.",
        ),
        **{zone: build_zone(zone, record(f"s1.{zone}")) for zone in ("silent.test", "three.test", "refused.test")},
        **{
            zone: build_zone(zone, record(f"s1.{zone}"))
            for zone in ("lame.test", "broken.test", "homeless.test", "six.test")
        },
    }


def build_second() -> dict[str, str]:
    return {
        "two.test": build_zone(
            "two.test",
            record("s1._domainkey.two.test"),
            record("other._domainkey.two.test", OTHER),
            "alias._domainkey IN CNAME s1.half-silent.test.",
            negative=400,
            soa_ttl=50,
        ),
        "three.test": build_zone("three.test", record("s1.three.test")),
        "broken.test": "this is no zone\n",
        "delegated.test": build_zone("delegated.test", record("s2.delegated.test"), negative=90),
        "half-silent.test": build_zone("half-silent.test", record("s1.half-silent.test")),
        "sub.one.test": build_zone("sub.one.test", record("s1._domainkey.sub.one.test", HUGE)),
    }

"""Ask name servers for TXT records: those of the zone itself, so that no cache answers, or the resolvers that are set.

The zone and its servers are found with the machine's resolver. Then each address of each server is asked without
recursion (RFC 1034 section 4.3.1); only what it says with authority counts (RFC 1035 section 4.1.1, AA). Aliases lead
to the servers of the zone that they point into. Nothing raises: what went wrong is in the looks.
"""

import socket
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from ipaddress import ip_address
from threading import Lock
from typing import Any, TypeVar

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.rrset

from mailfilter_operator.dkim.published import Answer, Look

QUERY_SECONDS = 2.0
TRIES = 2
TOTAL_SECONDS = 20.0
"""For all names of one call; what is not known by then stays unknown."""
THREADS = 16
ALIASES = 8
"""CNAMEs that are followed from one name."""
EDNS_BYTES = 1232
"""Largest answer by UDP that no network tears apart (DNS flag day 2020); larger ones come by TCP."""
NEGATIVE_TTL = 3600
"""Where no server tells: within the one to three hours that RFC 2308 section 5 finds sensible."""

T = TypeVar("T")


class _Trouble(Exception):
    """Why a name cannot be looked up, in words for people."""


_TROUBLE = (_Trouble, dns.exception.DNSException, OSError, EOFError, ValueError)


@dataclass(frozen=True, slots=True)
class _Server:
    label: str
    """As in `Answer.server`."""
    address: str
    """Empty if it has none."""
    port: int


@dataclass(frozen=True, slots=True)
class _Zone:
    servers: tuple[_Server, ...]
    negative_ttl: int


@dataclass
class AskDns:
    """Looks for TXT at names; `port` is that of zones' servers, `nameservers` stand in for the machine's resolvers."""

    now: Callable[[], str]
    port: int = 53
    nameservers: Sequence[str] = ()

    def __call__(self, names: Sequence[str], resolvers: Sequence[str]) -> Mapping[str, Look]:
        """What is said of each name, by the *resolvers* (`address`, `address:port`) or else by its zone's servers."""
        end = time.monotonic() + TOTAL_SECONDS
        machine = tuple(_parse_server(text, self.port) for text in self.nameservers or _read_machine_resolvers())
        asked = tuple(_parse_server(text, self.port) for text in resolvers)
        # Two pools: a name waits for its queries, and would wait for ever if names had all the threads.
        with ThreadPoolExecutor(THREADS, "dns-name") as looks, ThreadPoolExecutor(THREADS, "dns-query") as queries:
            looking = _Looking(self.now, self.port, machine, asked, end, queries)
            wanted = list(dict.fromkeys(names))
            return dict(zip(wanted, looks.map(looking.look, wanted), strict=True))


@dataclass
class _Looking:
    """One call: a zone is found once, and a server that keeps silent is not waited for again."""

    now: Callable[[], str]
    port: int
    machine: tuple[_Server, ...]
    resolvers: tuple[_Server, ...]
    end: float
    queries: Executor
    found: dict[Hashable, Future[Any]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)
    silent: set[_Server] = field(default_factory=set)

    def look(self, name: str) -> Look:
        try:
            ask = self._ask_resolvers if self.resolvers else self._ask_zones
            answers, negative_ttl = ask(dns.name.from_text(name))
        except _TROUBLE as error:
            return Look(name, self.now(), (), 0, _describe(error))
        return Look(name, self.now(), tuple(answers), negative_ttl)

    def _ask_zones(self, first: dns.name.Name) -> tuple[list[Answer], int]:
        """What the servers of the name's zone say, and those of the zones to which aliases lead."""
        answers: list[Answer] = []
        negative_ttl = 0
        names = [first]
        for name in names:
            zone = self._find_zone(name)
            asked = "" if name == first else name.to_text()

            def ask(server: _Server, name: dns.name.Name = name, asked: str = asked) -> Answer:
                return self._ask_server(server, name, asked)

            level = list(self.queries.map(ask, zone.servers))
            answers += level
            negative_ttl = max(negative_ttl, zone.negative_ttl)
            before = names[: names.index(name) + 1]
            for alias in dict.fromkeys(answer.alias for answer in level if answer.alias is not None):
                target = dns.name.from_text(alias)
                if target in before:
                    raise _Trouble(f"the aliases (CNAME) of {first} come back to {target}")
                if target not in names:
                    names.append(target)
            if len(names) > ALIASES + 1:
                raise _Trouble(f"{first} has more than {ALIASES} aliases (CNAME)")
        return answers, negative_ttl

    def _ask_server(self, server: _Server, name: dns.name.Name, asked: str) -> Answer:
        try:
            message = self._query(server, name, dns.rdatatype.TXT, recurse=False)
        except _TROUBLE as error:
            return Answer(server.label, None, 0, _describe(error), asked)
        if failure := _find_failure(message):
            return Answer(server.label, None, 0, failure, asked)
        if not message.flags & dns.flags.AA:
            return Answer(server.label, None, 0, "lame: it answers without authority for the zone", asked)
        if texts := _find(message, name, dns.rdatatype.TXT):
            return Answer(server.label, _read_texts(texts), texts.ttl, None, asked)
        if alias := _find(message, name, dns.rdatatype.CNAME):
            return Answer(server.label, None, alias.ttl, None, asked, alias[0].target.to_text())
        soa = _find_authority(message, dns.rdatatype.SOA)
        return Answer(server.label, (), min(soa.ttl, soa[0].minimum) if soa else NEGATIVE_TTL, None, asked)

    def _ask_resolvers(self, name: dns.name.Name) -> tuple[list[Answer], int]:
        """What each resolver says; it follows aliases itself."""
        told = list(self.queries.map(lambda server: self._ask_resolver(server, name), self.resolvers))
        negative_ttl = max(self._find_negative_ttl(place) for place in {name, *(place for _, place in told)})
        return [answer for answer, _ in told], negative_ttl

    def _ask_resolver(self, server: _Server, name: dns.name.Name) -> tuple[Answer, dns.name.Name]:
        """Its answer, and the name to which aliases led it."""
        try:
            message = self._query(server, name, dns.rdatatype.TXT, recurse=True)
            if failure := _find_failure(message):
                return Answer(server.label, None, 0, failure), name
            chain = message.resolve_chaining()
        except _TROUBLE as error:
            return Answer(server.label, None, 0, _describe(error)), name
        ttls = [alias.ttl for alias in chain.cnames]
        if chain.answer is not None:
            answer = Answer(server.label, _read_texts(chain.answer), max([chain.answer.ttl, *ttls]))
            return answer, chain.canonical_name
        soa = _find_authority(message, dns.rdatatype.SOA)
        if soa is None and (chain.cnames or _find_authority(message, dns.rdatatype.NS)):
            return Answer(server.label, None, 0, "it refers to others in place of an answer: no resolver"), name
        # The TTL of a SOA record in a cache has run down, other caches have a newer one.
        return Answer(server.label, (), max([soa[0].minimum if soa else NEGATIVE_TTL, *ttls])), chain.canonical_name

    def _find_negative_ttl(self, name: dns.name.Name) -> int:
        try:
            _, soa = self._find_apex(self.resolvers, name)
        except _TROUBLE:
            return NEGATIVE_TTL
        return int(soa[0].minimum)

    def _find_zone(self, name: dns.name.Name) -> _Zone:
        apex, soa = self._find_apex(self.machine, name)
        return self._once(("zone", apex), lambda: self._read_zone(apex, soa))

    def _find_apex(self, servers: tuple[_Server, ...], name: dns.name.Name) -> tuple[dns.name.Name, dns.rrset.RRset]:
        """The zone that *name* is in, and its SOA record, by recursion."""

        def walk() -> tuple[dns.name.Name, dns.rrset.RRset]:
            try:
                soa = _find(self._resolve(servers, name, dns.rdatatype.SOA), name, dns.rdatatype.SOA)
            except _Trouble:
                # Resolvers follow an alias first, and fail where it leads into a circle or to a zone that is broken.
                if _find(self._resolve(servers, name, dns.rdatatype.CNAME), name, dns.rdatatype.CNAME) is None:
                    raise
                soa = None
            return (name, soa) if soa else self._find_apex(servers, name.parent())

        return self._once(("apex", name), walk)

    def _read_zone(self, apex: dns.name.Name, cached: dns.rrset.RRset) -> _Zone:
        names = _find(self._resolve(self.machine, apex, dns.rdatatype.NS), apex, dns.rdatatype.NS)
        hosts = sorted(record.target for record in names or ())
        servers = tuple(server for host in hosts for server in self._find_host(host))
        if not servers:
            raise _Trouble(f"the zone {apex} has no name servers")

        def read_ttl(server: _Server) -> int:
            try:
                message = self._query(server, apex, dns.rdatatype.SOA, recurse=False)
            except _TROUBLE:
                return 0
            soa = _find(message, apex, dns.rdatatype.SOA)
            return min(soa.ttl, soa[0].minimum) if soa and message.flags & dns.flags.AA else 0

        return _Zone(servers, max(self.queries.map(read_ttl, servers)) or cached[0].minimum)

    def _find_host(self, host: dns.name.Name) -> list[_Server]:
        return self._once(("host", host), lambda: self._read_host(host))

    def _read_host(self, host: dns.name.Name) -> list[_Server]:
        """One server at each of its addresses to which there is a route from here."""
        addresses: list[str] = []
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            try:
                records = self._resolve(self.machine, host, kind).resolve_chaining().answer
            except _TROUBLE:
                continue
            addresses += sorted(record.address for record in records or ())
        # Few clusters have both families; addresses of the other one would be told as silent for ever.
        near = [address for address in addresses if _has_route(address, self.port)] or addresses
        return [_Server(f"{host} ({address})", address, self.port) for address in near] or [
            _Server(str(host), "", self.port)
        ]

    def _resolve(
        self, servers: tuple[_Server, ...], name: dns.name.Name, kind: dns.rdatatype.RdataType
    ) -> dns.message.QueryMessage:
        """What the first resolver says that gives a usable answer."""
        why = "no resolver is set"
        for server in servers:
            try:
                message = self._query(server, name, kind, recurse=True)
            except _TROUBLE as error:
                why = f"{server.label}: {_describe(error)}"
                continue
            failure = _find_failure(message)
            if failure is None:
                return message
            why = f"{server.label}: {failure}"
        raise _Trouble(f"the name servers of {name} are not found: {why}")

    def _query(
        self, server: _Server, name: dns.name.Name, kind: dns.rdatatype.RdataType, *, recurse: bool
    ) -> dns.message.QueryMessage:
        if not server.address:
            raise _Trouble("it has no address")
        query = dns.message.make_query(name, kind, use_edns=0, payload=EDNS_BYTES)
        if not recurse:
            query.flags &= ~dns.flags.RD
        for _ in range(0 if server in self.silent else TRIES):
            patience = min(QUERY_SECONDS, self.end - time.monotonic())
            if patience <= 0:
                break
            try:
                return _exchange(query, server, patience)
            except dns.exception.Timeout:
                continue
        else:
            # A resolver may be slow with one name alone; a zone's own server has its answers at hand.
            if not recurse:
                self.silent.add(server)
        raise dns.exception.Timeout

    def _once(self, key: Hashable, find: Callable[[], T]) -> T:
        """What *find* returns or raises; it is called once for a *key*, other threads wait for it."""
        mine: Future[T] = Future()
        with self.lock:
            future: Future[T] = self.found.setdefault(key, mine)
        if future is mine:
            try:
                mine.set_result(find())
            except BaseException as error:
                mine.set_exception(error)
                raise
        return future.result()


def _exchange(query: dns.message.QueryMessage, server: _Server, patience: float) -> dns.message.QueryMessage:
    """The answer by UDP, or by TCP where it is too long; what does not belong to the query is passed over."""
    end = time.monotonic() + patience
    try:
        message = dns.query.udp(
            query,
            server.address,
            patience,
            server.port,
            ignore_unexpected=True,
            ignore_errors=True,
            raise_on_truncation=True,
        )
    except dns.message.Truncated:
        try:
            message = dns.query.tcp(query, server.address, max(end - time.monotonic(), 0.1), server.port)
        except dns.exception.Timeout:
            # It does answer by UDP, where other records are short enough.
            raise _Trouble("its answer is too long for UDP, and by TCP none came in time") from None
    if not isinstance(message, dns.message.QueryMessage):
        raise _Trouble("its answer is not one to a query")
    return message


def _has_route(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, port))  # of a datagram socket: nothing is sent
    except OSError:
        return False
    return True


def _parse_server(text: str, port: int) -> _Server:
    """The server written as `address`, `address:port` or `[v6 address]:port`; without an address if it is neither."""
    address, number = text, str(port)
    if text.startswith("["):
        address, _, number = text[1:].partition("]")
        number = number.removeprefix(":") or str(port)
    elif text.count(":") == 1:
        address, _, number = text.partition(":")
    try:
        return _Server(text, str(ip_address(address)), int(number))
    except ValueError:
        return _Server(text, "", 0)


def _read_machine_resolvers() -> list[str]:
    try:
        return [server for server in dns.resolver.Resolver().nameservers if isinstance(server, str)]
    except (dns.exception.DNSException, OSError):
        return []


def _find(message: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.rrset.RRset | None:
    return message.get_rrset(message.answer, name, dns.rdataclass.IN, kind)


def _find_authority(message: dns.message.Message, kind: dns.rdatatype.RdataType) -> dns.rrset.RRset | None:
    return next((rrset for rrset in message.authority if rrset.rdtype == kind), None)


def _find_failure(message: dns.message.Message) -> str | None:
    usable = message.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
    return None if usable else dns.rcode.to_text(message.rcode())


def _read_texts(records: dns.rrset.RRset) -> tuple[str, ...]:
    return tuple(sorted(b"".join(record.strings).decode(errors="replace") for record in records))


def _describe(error: BaseException) -> str:
    if isinstance(error, dns.exception.Timeout):
        return "no answer in time"
    return (str(error) or type(error).__name__)[:200]

"""P4 for any course of events: under WhenPublished a domain that signs goes on signing with a key seen published.

Any sequence of answers of DNS, of time, of edits of the spec, and an operator that ends between any two of its writes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.unit import samples

from mailfilter_operator import names
from mailfilter_operator.dkim import states
from mailfilter_operator.dkim.keys import ACTIVE, PENDING, RETIRED, RETIRING, RSA, DkimKey
from mailfilter_operator.dkim.lines import Rules, Wish
from mailfilter_operator.dkim.slots import KeyPlan, KeyRequest, plan_keys
from mailfilter_operator.dkim.states import Place, Sighting, confirm_left, record_name
from mailfilter_operator.times import add_seconds, seconds_between

DOMAIN = "example.com"
TTL = 3600
DAY = 86400
WISH = Wish(DOMAIN, RSA, 2048, at_once=False, interval=90 * DAY)
NAMES = [names.dkim_secret("mx", DOMAIN, slot) for slot in ("r0", "r1", "r2")]
ANSWERS = st.sampled_from([True, False, None])


class Fleet(RuleBasedStateMachine):
    """A line of keys in its Secrets, DNS, and a spec that changes."""

    @initialize()
    def begin(self) -> None:
        self.now = samples.NOW
        self.wish: Wish | None = WISH
        self.policy = Rules(overlap=7 * DAY, remove_after=30 * DAY)
        self.secrets: dict[str, DkimKey] = {}
        self.published: dict[str, bool | None] = {}
        self.first_seen: dict[str, str] = {}
        self.seen: set[str] = set()
        """Keys whose record was there in two answers with the time to live between them."""
        self.signed = False
        self.excused = True
        """The domain was removed or its key revoked since it signed last."""
        self.selectors = 0

    @rule(days=st.sampled_from([0.01, 0.1, 1, 8, 40, 100]))
    def time_passes(self, days: float) -> None:
        self.now = add_seconds(self.now, days * DAY)

    @rule(answer=ANSWERS, which=st.integers(0, 3))
    def dns_changes(self, answer: bool | None, which: int) -> None:
        records = sorted({record_name(key) for key in self.secrets.values()})
        if records:
            self.published[records[which % len(records)]] = answer

    @rule()
    def people_publish_what_is_missing(self) -> None:
        for key in self.secrets.values():
            if key.state == PENDING:
                self.published[record_name(key)] = True

    @rule(
        bits=st.sampled_from([2048, 3072]),
        rotation_id=st.sampled_from(["", "a/", "/a", "b/a"]),
        alternating=st.booleans(),
    )
    def spec_is_edited(self, bits: int, rotation_id: str, *, alternating: bool) -> None:
        self.wish = replace(WISH, bits=bits, rotation_id=rotation_id, alternating=alternating)

    @rule()
    def domain_is_removed(self) -> None:
        self.wish, self.excused = None, True

    @rule(which=st.sampled_from(NAMES))
    def key_is_revoked(self, which: str) -> None:
        self.policy = replace(self.policy, revoked=self.policy.revoked | {which})
        if which in self.secrets and self.secrets[which].state == ACTIVE:
            self.excused = True

    @rule()
    def revocations_are_cleared(self) -> None:
        self.policy = replace(self.policy, revoked=frozenset())

    @rule()
    def annotations_are_lost_of_a_key_that_waits(self) -> None:
        for name, key in self.secrets.items():
            if key.state == PENDING:
                self.secrets[name] = replace(key, seen_again="", rotation_id="")

    @rule(writes=st.integers(0, 6))
    def operator_ends_in_a_pass(self, writes: int) -> None:
        self._pass(writes)

    @rule()
    def operator_passes(self) -> None:
        self._pass(None)

    @rule(times=st.integers(2, 5))
    def operator_passes_day_by_day(self, times: int) -> None:
        for _ in range(times):
            self._pass(None)
            self.time_passes(1)

    def _pass(self, limit: int | None) -> None:
        left = [100 if limit is None else limit]
        sightings = self._look()
        plan = self._plan(sightings)
        made = self._carry_out(plan, left)
        if made:
            self._carry_out(self._plan(sightings), left)
        if limit is None:
            for name, key in list(self.secrets.items()):
                self.secrets[name] = confirm_left(key, self.now)
            self._judge()

    def _look(self) -> dict[Place, Sighting]:
        sightings = {}
        for key in self.secrets.values():
            name = record_name(key)
            answer = self.published.get(name, False)
            sightings[key.domain, key.slot] = Sighting(answer, self.now, TTL)
            if answer is False:
                self.first_seen.pop(name, None)
            elif answer and name not in self.first_seen:
                self.first_seen[name] = self.now
            elif answer and seconds_between(self.first_seen[name], self.now) >= TTL:
                self.seen.add(name)
        return sightings

    def _plan(self, sightings: dict[Place, Sighting]) -> KeyPlan:
        wishes = [self.wish] if self.wish else []
        return plan_keys(wishes, self.secrets.values(), sightings, self.policy, self.now, "mx")

    def _carry_out(self, plan: KeyPlan, left: list[int]) -> bool:
        for key in plan.in_storing_order:
            name = names.dkim_secret("mx", key.domain, key.slot)
            if self.secrets[name] != key and self._write(left):
                self.secrets[name] = key
        for key in plan.deletions:
            if self._write(left):
                assert key.state == RETIRED
                del self.secrets[names.dkim_secret("mx", key.domain, key.slot)]
        made = [request for request in plan.requests if self._write(left) and self._make(request)]
        return bool(made)

    @staticmethod
    def _write(left: list[int]) -> bool:
        left[0] -= 1
        return left[0] >= 0

    def _make(self, request: KeyRequest) -> bool:
        name = names.dkim_secret("mx", request.domain, request.slot)
        if name in self.secrets:
            return False  # the Secret that was to make room is still there
        self.selectors += 1
        selector = request.selector or f"s{self.selectors}"
        # A name that is used again is another key's.
        for known in (self.seen, self.first_seen, self.published):
            known.discard(f"{selector}._domainkey.{DOMAIN}") if isinstance(known, set) else known.pop(
                f"{selector}._domainkey.{DOMAIN}", None
            )
        state = ACTIVE if request.at_once else PENDING
        self.secrets[name] = DkimKey(
            DOMAIN, request.slot, selector, RSA, request.bits, state, self.now, "", b"", request.rotation_id
        )
        return True

    def _judge(self) -> None:
        signing = [key for key in self.secrets.values() if key.state == ACTIVE]
        assert len(signing) <= 1
        if signing:
            assert record_name(signing[0]) in self.seen, signing[0]
            assert not signing[0].revoked
            self.signed, self.excused = True, self.wish is None
        elif self.signed:
            assert self.excused, "the domain signed, and does no more"

    @invariant()
    def selectors_are_not_shared(self) -> None:
        in_use = [key.selector for key in getattr(self, "secrets", {}).values() if key.state in (ACTIVE, RETIRING)]
        assert len(in_use) == len(set(in_use))


QUICK: dict[str, Any] = {
    "deadline": None,
    "stateful_step_count": 40,
    "suppress_health_check": list(HealthCheck),
    "database": None,
}


def test_domain_that_signs_goes_on_signing() -> None:
    run_state_machine_as_test(Fleet, settings=settings(max_examples=60, **QUICK))


def _break_transition(before: Any, happening: Any, wrong: Any) -> tuple[Any, str, Any]:
    return states, "TRANSITIONS", {**states.TRANSITIONS, (before, happening): wrong}


BROKEN = {
    "a retired key signs at once": _break_transition(RETIRED, "wanted again", ACTIVE),
    "a key that waits signs when it is wanted no more": _break_transition(PENDING, "unwanted", ACTIVE),
    "a key signs on beside the next": _break_transition(ACTIVE, "replaced", ACTIVE),
    "a revoked key signs on": _break_transition(ACTIVE, "revoked", ACTIVE),
    "one answer is enough": (states, "add_seconds", lambda time, seconds: add_seconds(time, min(seconds, 0))),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_broken_is_found(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """The property can fail."""
    monkeypatch.setattr(*BROKEN[broken])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            Fleet, settings=settings(max_examples=1000, phases=[Phase.generate], derandomize=True, **QUICK)
        )

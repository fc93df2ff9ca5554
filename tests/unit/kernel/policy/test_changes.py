"""Policies are changed by two: who may decide, what moved meanwhile, and two who decide at once."""

import threading

import pytest

from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.policy import OwnRequest, PolicyChanges, PolicySet, PolicyStore, shipped_policies, shipped_schema
from vallum.kernel.values import Subject, SubjectKind, TenantId

REASON = "auditors may see more of it"


def person(name, holder=None):
    return Subject(SubjectKind.PERSON, f"per_{name}", TenantId("default"), holder=holder or f"per_{name}")


ADA, BOB = person("ada"), person("bob")


def more(number=0):
    files = {
        **shipped_policies(),
        "more.cedar": f'@id("more-{number}") permit (principal, action, resource) when {{ false }};',
    }
    return PolicySet.parse(files, shipped_schema())


@pytest.fixture
def store(clock):
    return PolicyStore(clock)


@pytest.fixture
def changes(records, clock):
    return PolicyChanges(records, clock)


@pytest.fixture
def propose(changes, store, records):
    def _propose(by=ADA, policy_set=None, reason=REASON):
        with records.write() as conn:
            return changes.propose(conn, policy_set or more(), store.in_force(conn), by, reason)

    return _propose


@pytest.fixture
def approve(changes, store, records):
    def _approve(change, by=BOB):
        with records.write() as conn:
            changes.approve(conn, change.id, by, store.in_force(conn))
            _, files = changes.change(change.id)
            store.apply(conn, PolicySet.parse(files, shipped_schema()), by.render())

    return _approve


def test_a_proposal_is_put_in_force_by_somebody_else_and_undone_by_an_earlier_one(
    changes, store, records, propose, approve
):
    with records.read() as conn:
        before = store.in_force(conn)
    change = propose()
    assert (change.state, change.base) == ("waiting", before)
    with pytest.raises(OwnRequest):
        approve(change, ADA)
    with pytest.raises(OwnRequest):
        approve(change, person("ada-second", holder="per_ada"))
    approve(change)
    with records.read() as conn:
        assert store.in_force(conn) == change.digest
        assert changes.one(conn, change.id).decided_by == "person:per_bob"
    back = propose(BOB, PolicySet.parse(shipped_policies(), shipped_schema()))
    approve(back, ADA)
    with records.read() as conn:
        assert store.in_force(conn) == before


def test_what_was_read_is_what_comes_into_force(propose, approve, changes):
    """Another set came into force after this was proposed: the diff its approver read is no longer true."""
    first, second = propose(ADA, more(1)), propose(ADA, more(2))
    approve(first)
    with pytest.raises(Conflict, match="anew"):
        approve(second)
    assert changes.change(second.id)[0].state == "waiting"


def test_decided_is_decided(propose, approve, changes, records):
    change = propose()
    with records.write() as conn:
        changes.deny(conn, change.id, BOB, "too broad")
    with pytest.raises(Conflict, match="denied"):
        approve(change)
    with pytest.raises(NotFound), records.write() as conn:
        changes.withdraw(conn, change.id, BOB)
    with pytest.raises(Conflict), records.write() as conn:
        changes.withdraw(conn, change.id, ADA)
    other = propose()
    with records.write() as conn:
        changes.withdraw(conn, other.id, ADA)
    with pytest.raises(Conflict, match="withdrawn"):
        approve(other)
    with pytest.raises(NotFound), records.write() as conn:
        changes.deny(conn, "pch_nothing", BOB)


def test_reasons_and_what_changes_nothing(propose):
    for reason in ("", "short", "x" * 501, "two\nlines of it"):
        with pytest.raises(Invalid):
            propose(reason=reason)
    with pytest.raises(Conflict, match="already"):
        propose(policy_set=PolicySet.parse(shipped_policies(), shipped_schema()))


@pytest.mark.long
def test_of_those_who_decide_at_once_one_wins(propose, changes, store, records):
    for number in range(40):
        change = propose(ADA, more(number))
        won, start = [], threading.Barrier(3)

        def decide(method, by, change=change, won=won, start=start):
            start.wait()
            try:
                with records.write() as conn:
                    extra = (store.in_force(conn),) if method == "approve" else ()
                    getattr(changes, method)(conn, change.id, by, *extra)
                won.append(method)
            except Conflict:
                pass

        threads = [
            threading.Thread(target=decide, args=(method, person(f"{method}{number}")))
            for method in ("approve", "deny", "approve")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1

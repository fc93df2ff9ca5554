"""Privacy budgets that are kept: charged before the answer, exact over threads and crashes, on both stores."""

import json
import threading

import pytest
from governed_data import visits
from sqlalchemy import text

from vallum.data.anonymise import BudgetSpent
from vallum.kernel.errors import Conflict, Denied, Invalid, NotFound

SET, COUNT = {"name": "visits"}, {"type": "count"}
COST = {"type": "sum", "column": "cost", "low": 0, "high": 100}


@pytest.fixture
def version(taken_in):
    return taken_in(visits(70))


@pytest.fixture
def ask(perform, version):
    def _ask(subject, query=COUNT, epsilon=0.5, number=None):
        path = {"name": "visits", "number": str(number or version.number)}
        return perform("release_statistic", subject, path, query=query, epsilon=epsilon)

    return _ask


def spent(platform):
    with platform.records.read() as conn:
        total = conn.execute(text("SELECT spent_micro_epsilon FROM data_privacy_budgets")).scalar_one()
        entries = conn.execute(text("SELECT COALESCE(SUM(micro_epsilon), 0) FROM data_privacy_spendings")).scalar_one()
    return total, int(entries)


def test_nothing_is_released_without_a_budget_and_nobody_sets_their_own(ask, perform, stella, mel):
    with pytest.raises(NotFound, match="no privacy budget"):
        ask(mel)
    with pytest.raises(Denied):
        perform("set_privacy_budget", mel, SET, epsilon=100.0)


def test_who_may_see_no_value_gets_statistics_until_the_budget_is_spent(ask, perform, stella, mel, platform, entries):
    perform("set_privacy_budget", stella, SET, epsilon=3.0)
    first = ask(mel, COUNT, 1.0)
    assert isinstance(first.answer, int)
    assert abs(first.answer - 70) < 40  # 1e-17 of chance
    assert first.left_micro_epsilon == 2_000_000
    total = ask(mel, COST, 1.0)
    assert abs(total.answer - sum(10.5 + at for at in range(70))) < 4500
    categories = {"type": "histogram", "column": "ward", "categories": ["ward 1", "ward 9"]}
    assert set(ask(mel, categories, 0.999999).answer) == {"ward 1", "ward 9"}
    with pytest.raises(BudgetSpent, match=r"has 0\.000001 left"):
        ask(mel, COUNT, 0.000002)
    ask(mel, COUNT, 0.000001)
    assert spent(platform) == (3_000_000, 3_000_000)
    told = entries("data:statistics:release")
    assert [one["outcome"] for one in told].count("ok") == 4
    assert str(first.answer) not in json.dumps(told[0]["context"])
    shown = perform("read_privacy_budget", stella, SET)
    assert len(shown.spent) == 4
    assert shown.budget.left_micro_epsilon == 0


def test_two_at_once_cannot_overspend(ask, perform, stella, mel, platform):
    perform("set_privacy_budget", stella, SET, epsilon=1.0)
    answers, refused, ready = [], [], threading.Barrier(6)

    def one():
        ready.wait()
        try:
            answers.append(ask(mel, COUNT, 0.3))
        except BudgetSpent as e:
            refused.append(e)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(answers), len(refused)) == (3, 3)
    assert spent(platform) == (900_000, 900_000)


def test_a_check_that_was_passed_before_is_no_leave_to_spend(catalogue, version, perform, stella, mel, platform):
    """What `prepare` saw is stale by the time it is charged: the charge itself decides."""
    from vallum.data.catalogue.private_statistics import Count

    perform("set_privacy_budget", stella, SET, epsilon=1.0)
    late = [catalogue.statistics.prepare("visits", version.number, Count(), 0.6) for _ in range(2)]
    with platform.records.write() as conn:
        catalogue.statistics.release(conn, late[0], mel)
    with pytest.raises(BudgetSpent), platform.records.write() as conn:
        catalogue.statistics.release(conn, late[1], mel)
    assert spent(platform) == (600_000, 600_000)


def test_a_crash_answers_nothing_and_a_failed_entry_charges_nothing(
    ask, perform, stella, mel, platform, monkeypatch, catalogue
):
    from vallum.data.catalogue import private_statistics as module

    perform("set_privacy_budget", stella, SET, epsilon=1.0)

    def torn(prepared):
        raise RuntimeError("killed while the noise was drawn")

    with monkeypatch.context() as broken, pytest.raises(RuntimeError):
        broken.setattr(module, "_answered", torn)
        ask(mel, COUNT, 0.4)
    assert spent(platform) == (0, 0)  # no answer left, so nothing of the budget did


def test_further_rows_of_a_person_do_not_count(ask, perform, stella, mel, taken_in):
    """70 visits of 7 people: with one row each, there are 7."""
    perform("set_privacy_budget", stella, SET, epsilon=900.0, person_column="email", contributions=1)
    assert ask(mel, COUNT, 100.0).answer in range(5, 10)
    first = sum(10.5 + at for at in range(7))
    assert abs(ask(mel, COST, 300.0).answer - first) < 10
    mean = {**COST, "type": "mean"}
    assert abs(ask(mel, mean, 400.0).answer - first / 7) < 10


def test_what_was_spent_stays_spent(ask, perform, stella, mel, taken_in, platform):
    perform("set_privacy_budget", stella, SET, epsilon=1.0)
    ask(mel, COUNT, 0.6)
    second = taken_in(visits(80))
    with pytest.raises(BudgetSpent):  # another version is about the same people
        ask(mel, COUNT, 0.6, second.number)
    with pytest.raises(Conflict):
        perform("set_privacy_budget", stella, SET, epsilon=0.5)
    with pytest.raises(Conflict):  # a bound that is wider afterwards would make little noise of much
        perform("set_privacy_budget", stella, SET, epsilon=1.0, person_column="email")
    assert perform("set_privacy_budget", stella, SET, epsilon=2.0).left_micro_epsilon == 1_400_000


@pytest.mark.parametrize(
    "query",
    [
        {"type": "sum", "column": "email", "low": 0, "high": 1},
        {"type": "sum", "column": "nothing", "low": 0, "high": 1},
        {"type": "sum", "column": "cost", "low": 5, "high": 1},
    ],
)
def test_what_cannot_be_answered_costs_nothing(ask, perform, stella, mel, platform, query):
    perform("set_privacy_budget", stella, SET, epsilon=1.0)
    with pytest.raises(Invalid):
        ask(mel, query, 0.5)
    assert spent(platform) == (0, 0)

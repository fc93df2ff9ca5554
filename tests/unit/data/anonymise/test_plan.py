"""What a purpose may have, and that nothing else leaves."""

from datetime import date

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.data.anonymise import (
    Generalise,
    Hash,
    Keep,
    Mask,
    MemoryVault,
    PurposePlan,
    Redact,
    ShiftDate,
    Tokenise,
    Tokeniser,
    Treatments,
)
from vallum.data.fields import ColumnCipher, ColumnPlace
from vallum.kernel.errors import Invalid

TABLE = {
    "id": ["p1", "p2", "p1"],
    "name": ["Anna Ash", None, "Anna Ash"],
    "card": ["4111 1111 1111 1111", "5500 0000 0000 0004", "4111 1111 1111 1111"],
    "age": ["27", "31", "27"],
    "visit": ["2026-01-05", "2026-02-01", "2026-01-15"],
    "diagnosis": ["asthma", "asthma", "flu"],
}
PLAN = PurposePlan(
    "research",
    {
        "id": Hash(),
        "name": Redact(),
        "card": Tokenise(),
        "age": Generalise(width=10),
        "visit": ShiftDate(subject="id"),
        "diagnosis": Keep(),
    },
)
USING = Treatments(
    b"k" * 32,
    lambda column: (
        Tokeniser(ColumnCipher(b"c" * 32, ColumnPlace("visits", "restricted", column)), MemoryVault()).tokenise
    ),
)


def test_each_column_leaves_as_its_purpose_says():
    treated = PLAN.apply(TABLE, USING)
    assert treated["id"][0] == treated["id"][2] != treated["id"][1]
    assert treated["name"] == ["[redacted]", None, "[redacted]"]
    assert treated["card"][0] == treated["card"][2]
    assert not set(treated["card"]) & set(TABLE["card"])
    assert treated["age"] == ["[20, 30)", "[30, 40)", "[20, 30)"]
    first, _, third = map(date.fromisoformat, treated["visit"])
    assert (third - first).days == 10
    assert first != date(2026, 1, 5)
    assert treated["diagnosis"] == TABLE["diagnosis"]


@given(st.sets(st.sampled_from(list(TABLE))))
def test_what_a_purpose_does_not_name_does_not_leave(names):
    plan = PurposePlan("x", {name: Mask() for name in names})
    treated = plan.apply(TABLE, USING)
    assert set(treated) == names
    kept, dropped = plan.minimise(list(TABLE))
    assert kept == [name for name in TABLE if name in names]
    assert sorted(kept + dropped) == sorted(TABLE)


def test_two_purposes_cannot_join_on_a_hash():
    plan = PurposePlan("x", {"id": Hash()})
    assert plan.apply(TABLE, Treatments(b"1" * 32)) != plan.apply(TABLE, Treatments(b"2" * 32))


def test_an_error_names_column_and_row_and_not_the_value():
    table = {"age": ["1", "very secret"]}
    with pytest.raises(Invalid, match="column 'age', row 1") as caught:
        PurposePlan("x", {"age": Generalise(width=5)}).apply(table, USING)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_plan_for_another_table_is_refused():
    with pytest.raises(Invalid, match="'height'"):
        PurposePlan("x", {"height": Keep()}).apply(TABLE, USING)
    with pytest.raises(Invalid, match="'who'"):
        PurposePlan("x", {"visit": ShiftDate(subject="who")}).apply(TABLE, USING)
    with pytest.raises(Invalid, match="vault"):
        PurposePlan("x", {"card": Tokenise()}).apply(TABLE, Treatments(b"k" * 32))
    with pytest.raises(Invalid, match="row 0: there is no subject"):
        PurposePlan("x", {"visit": ShiftDate(subject="id")}).apply({"id": [None], "visit": ["2026-01-01"]}, USING)


def test_a_plan_is_a_file():
    text = b'{"purpose": "x", "columns": {"age": {"type": "generalise", "width": 5}, "id": {"type": "hash"}}}'
    plan = msgspec.json.decode(text, type=PurposePlan)
    assert plan.columns == {"age": Generalise(width=5), "id": Hash()}
    assert msgspec.json.decode(msgspec.json.encode(PLAN), type=PurposePlan) == PLAN
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"purpose": "x", "columns": {"age": {"type": "publish"}}}', type=PurposePlan)
    with pytest.raises(Invalid, match="one of"):
        Generalise(width=5, prefix=2)


def test_keys_are_not_shown():
    assert "k" * 4 not in repr(USING)

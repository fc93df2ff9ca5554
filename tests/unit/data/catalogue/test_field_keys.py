"""Keys of fields, kept: rotated without rewriting data, and one that leaks opens one column of one data set."""

from base64 import b64decode

import pytest
from governed_data import IBANS, contract, visits
from sqlalchemy import select

from vallum.data.catalogue import records as table
from vallum.data.catalogue.versions import columns_of, key_of, layout_of, row_of
from vallum.data.fields import ColumnCipher, ColumnPlace, SealedBatch
from vallum.kernel.errors import Denied, NotFound
from vallum.kernel.keys import SealBroken

CARE = {"purpose": "care"}


def sealed_keys(platform):
    with platform.records.read() as conn:
        classes = [bytes(one) for one in conn.execute(select(table.class_keys.c.sealed)).scalars()]
        columns = [bytes(one) for one in conn.execute(select(table.column_keys.c.wrapped)).scalars()]
    return classes, columns


def test_keys_are_rotated_and_no_data_is_rewritten(taken_in, rows, perform, stella, mel, blobs, platform, entries):
    first = taken_in(visits(60), contract(email="restricted"))
    before, files = sealed_keys(platform), {path: path.read_bytes() for path in blobs()}
    with pytest.raises(Denied):
        perform("rotate_data_keys", mel, {"name": "visits"})
    (rotated,) = perform("rotate_data_keys", stella, {"name": "visits"}, column="iban")
    assert (rotated.version, rotated.columns) == (2, {"email": 1, "iban": 2})
    after = sealed_keys(platform)
    assert not set(before[0]) & set(after[0])
    assert not set(before[1]) & set(after[1])
    assert {path: path.read_bytes() for path in blobs()} == files
    second = taken_in(visits(70), contract(email="restricted"))
    for version, count in ((first, 60), (second, 70)):
        got = rows(stella, version, **CARE)
        assert got.get_column("iban").to_list() == [IBANS[at % 3] for at in range(count)]
        assert got.get_column("email")[1] == "p1@example.org"
    assert entries("data:key:rotate")[-1]["context"]["column"] == "iban"
    perform("rotate_data_keys", stella, {"name": "visits"}, classification="restricted")
    assert rows(stella, first, **CARE).get_column("iban")[0] == IBANS[0]


def test_a_class_or_column_without_a_key_is_said_so(taken_in, perform, stella):
    taken_in()
    for body in ({"column": "cost"}, {"classification": "internal"}):
        with pytest.raises(NotFound, match="no key"):
            perform("rotate_data_keys", stella, {"name": "visits"}, **body)


def test_a_leaked_column_key_opens_one_column_of_one_data_set(taken_in, platform, catalogue):
    """The attacker has a column's key in the clear, and every part decrypted down to its fields."""
    agreed = contract(email="restricted").replace(b"{property: joinable, value: true}", b"{property: x, value: y}")
    mine = taken_in(visits(60), agreed)
    other = taken_in(visits(60), agreed, name="stays")
    keys = catalogue.field_keys
    leaked = keys.cipher("visits", "restricted", "iban")._material

    def fields(version, column):
        with platform.records.read() as conn:
            row = row_of(conn, version.dataset, version.number)
        part = layout_of(row).parts[0]
        key = key_of(platform.control.services.data._keyring, "version", row)
        frame = catalogue._parts._open(key, row.id, 0, part, [c.name for c in columns_of(row)])
        return SealedBatch(b64decode(part.headers[column]), frame.get_column(column).to_list())

    place = ColumnPlace("visits", "restricted", "iban")
    assert ColumnCipher(leaked, place).open(fields(mine, "iban"))[0] == IBANS[0].encode()
    for version, column in ((mine, "email"), (other, "iban"), (other, "email")):
        batch = fields(version, column)
        for claimed in (place, ColumnPlace(version.dataset, "restricted", column)):
            with pytest.raises(SealBroken):
                ColumnCipher(leaked, claimed).open(batch)

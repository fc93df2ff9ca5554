"""The keys of columns: what a leaked, altered or rotated one opens."""

import msgspec
import pytest

from vallum.data.fields import ColumnPlace, FieldKeys
from vallum.kernel.errors import Invalid
from vallum.kernel.keys import DEFAULT_TENANT, Keyring, Purpose
from vallum.kernel.keys.errors import KeyDestroyed, SealBroken
from vallum.kernel.values import TenantId


@pytest.fixture
def keyring(records, clock, root):
    return Keyring(records, root, clock)


@pytest.fixture
def keys(keyring):
    return FieldKeys(keyring, DEFAULT_TENANT)


def test_a_column_is_sealed_and_opened_through_the_keyring(keys):
    of = keys.create_class("customers", "restricted")
    column = keys.create_column(of, "iban")
    batch = keys.cipher(of, column).seal([b"DE89"])
    assert keys.cipher(of, column).open(batch) == [b"DE89"]


def test_one_leaked_column_key_opens_one_column(keys):
    of = keys.create_class("customers", "restricted")
    iban, name = keys.create_column(of, "iban"), keys.create_column(of, "name")
    leaked = keys.cipher(of, iban)
    other = keys.create_class("orders", "restricted")
    same_name = keys.cipher(other, keys.create_column(other, "iban")).seal([b"x"])
    for batch in (keys.cipher(of, name).seal([b"x"]), same_name):
        with pytest.raises(SealBroken):
            leaked.open(batch)


def test_a_wrapped_key_under_another_name_does_not_open(keys):
    """Who may read one column writes that column's name on another's key, and asks for it."""
    of = keys.create_class("customers", "restricted")
    secret = keys.create_column(of, "diagnosis")
    relabelled = msgspec.structs.replace(secret, place=ColumnPlace("customers", "restricted", "city"))
    with pytest.raises(SealBroken):
        keys.cipher(of, relabelled)
    other = keys.create_class("customers", "internal")
    with pytest.raises(Invalid):
        keys.cipher(other, secret)
    moved = msgspec.structs.replace(secret, place=ColumnPlace("customers", "internal", "diagnosis"))
    with pytest.raises(SealBroken):
        keys.cipher(other, moved)
    with pytest.raises(SealBroken):
        keys.cipher(of, msgspec.structs.replace(secret, version=2))
    with pytest.raises(SealBroken):
        keys.cipher(msgspec.structs.replace(of, classification="internal"), moved)


def test_another_tenant_opens_nothing(keyring, keys):
    of = keys.create_class("customers", "restricted")
    column = keys.create_column(of, "iban")
    with pytest.raises(SealBroken):
        FieldKeys(keyring, TenantId("other")).cipher(of, column)


def test_rotation_rewrites_no_data(keys, keyring, records):
    of = keys.create_class("customers", "restricted")
    first = keys.create_column(of, "iban")
    before = keys.cipher(of, first).seal([b"before"])
    second = keys.rotate_column(of, first)
    after = keys.cipher(of, second).seal([b"after"])
    with pytest.raises(SealBroken):
        keys.cipher(of, second).open(before)
    fresh, moved = keys.rotate_class(of, [first, second])
    with pytest.raises(SealBroken):
        keys.cipher(of, moved[0])
    with records.write() as conn:
        keyring.rotate(conn, DEFAULT_TENANT, Purpose.FIELDS)
    keyring.refresh()
    resealed = keys.reseal(fresh)
    with records.write() as conn:
        keyring.destroy(conn, DEFAULT_TENANT, Purpose.FIELDS, 1)
    keyring.refresh()
    assert keys.cipher(resealed, moved[0]).open(before) == [b"before"]
    assert keys.cipher(resealed, moved[1]).open(after) == [b"after"]
    with pytest.raises(KeyDestroyed):
        keys.cipher(of, first)


def test_records_survive_encoding_and_show_no_key(keys):
    of = keys.create_class("customers", "restricted")
    column = keys.create_column(of, "iban")
    for record in (of, column):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=type(record)) == record

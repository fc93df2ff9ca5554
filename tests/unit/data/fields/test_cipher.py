"""One column's cipher: what was sealed comes back, and nothing else opens."""

import dataclasses
import time

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from vallum.data.fields import BATCH_FIELDS, ColumnCipher, ColumnPlace, SealedBatch
from vallum.kernel.errors import Invalid
from vallum.kernel.keys.errors import SealBroken

PLACE = ColumnPlace("customers", "restricted", "iban")
KEY = bytes(range(32))
CIPHER = ColumnCipher(KEY, PLACE)
values = st.lists(st.none() | st.binary(max_size=40), max_size=30)


@given(values, st.integers(0, 1 << 40))
def test_what_was_sealed_comes_back(given_values, row):
    batch = CIPHER.seal(given_values, row)
    assert CIPHER.open(batch, row) == given_values
    assert [CIPHER.open_one(batch.header, i, f) for i, f in enumerate(batch.fields)] == given_values
    joinable = CIPHER.seal_joinable(given_values, row)
    assert CIPHER.open_joinable(joinable, row) == given_values


def test_the_formats_are_as_documented():
    """Told once more, from the documentation alone."""
    batch = ColumnCipher(KEY, PLACE, 3, entropy=lambda n: b"s" * n).seal([b"one", None], 7)
    place = b"".join(len(n).to_bytes(2, "big") + n for n in (b"customers", b"restricted", b"iban"))
    lead = b"VLFB\x01" + (3).to_bytes(4, "big") + (7).to_bytes(8, "big") + (2).to_bytes(4, "big")
    assert batch.header == lead + b"s" * 32
    info = b"vallum/fields/1 aes-256-gcm\x00" + lead + place
    gcm = AESGCM(HKDF(algorithm=SHA256(), length=32, salt=b"s" * 32, info=info).derive(KEY))
    assert gcm.decrypt(bytes(12), batch.fields[0], None) == b"one"
    assert gcm.decrypt(bytes(11) + b"\x01", batch.fields[1], b"null") == b""
    joinable = ColumnCipher(KEY, PLACE, 3).seal_joinable([b"one"])
    info = b"vallum/fields/1 aes-256-siv\x00" + (3).to_bytes(4, "big") + place
    siv = AESSIV(HKDFExpand(algorithm=SHA256(), length=64, info=info).derive(KEY))
    assert siv.decrypt(joinable.fields[0], [place]) == b"one"


def test_equal_values_are_equal_sealed_only_where_they_must_be_joined():
    batch, again = CIPHER.seal([b"x", b"x"]), CIPHER.seal([b"x", b"x"])
    assert len({*batch.fields, *again.fields}) == 4
    first, second = CIPHER.seal_joinable([b"x", b"y", b"x"]), CIPHER.seal_joinable([b"x"], 100)
    assert first.fields[0] == first.fields[2] == second.fields[0] == CIPHER.joinable_form(b"x") != first.fields[1]


def test_every_batch_has_a_key_of_its_own():
    salts = {CIPHER.seal([b"x"]).header[-32:] for _ in range(1000)}
    assert len(salts) == 1000


@given(st.data())
def test_any_single_bit_that_changes_is_found(data):
    batch = CIPHER.seal([b"first", None, b"", b"last"], 5)
    place = data.draw(st.integers(0, 4))
    raw = bytearray(batch.header if place == 4 else batch.fields[place])
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    changed = list(batch.fields)
    if place < 4:
        changed[place] = bytes(raw)
    header = bytes(raw) if place == 4 else batch.header
    with pytest.raises(SealBroken):
        CIPHER.open(SealedBatch(header, changed), 5)


def test_rows_cannot_be_moved_dropped_added_or_emptied():
    batch = CIPHER.seal([b"alice", b"bob", None, b"dora"], 10)
    fields = list(batch.fields)
    other = CIPHER.seal([b"eve"], 10)
    attacks = {
        "swapped": [fields[1], fields[0], *fields[2:]],
        "dropped": fields[:-1],
        "repeated": [*fields, fields[0]],
        "of another batch": [other.fields[0], *fields[1:]],
        "a null for a value": [fields[2], *fields[1:]],
        "nothing for a value": [None, *fields[1:]],
        "a value for a null": [*fields[:2], fields[0], fields[3]],
    }
    for name, forged in attacks.items():
        with pytest.raises(SealBroken):
            CIPHER.open(SealedBatch(batch.header, forged), 10)
            pytest.fail(name)
    with pytest.raises(SealBroken):
        CIPHER.open(batch, 11)  # the batch elsewhere in the column


@pytest.mark.parametrize("field", ["dataset", "classification", "column"])
def test_one_key_opens_one_column_of_one_data_set(field):
    """Even the same 32 bytes in another place open nothing: the place is in every key."""
    elsewhere = ColumnCipher(KEY, dataclasses.replace(PLACE, **{field: "other"}))
    with pytest.raises(SealBroken):
        elsewhere.open(CIPHER.seal([b"secret"]))
    with pytest.raises(SealBroken):
        elsewhere.open_joinable(CIPHER.seal_joinable([b"secret"]))
    assert elsewhere.joinable_form(b"x") != CIPHER.joinable_form(b"x")


def test_places_do_not_run_into_each_other():
    left, right = ColumnPlace("ab", "c", "d"), ColumnPlace("a", "bc", "d")
    assert left.binding != right.binding


def test_another_version_and_another_format_do_not_open():
    batch = CIPHER.seal([b"x"])
    with pytest.raises(SealBroken):
        ColumnCipher(KEY, PLACE, 2).open(batch)
    with pytest.raises(SealBroken):
        CIPHER.open(CIPHER.seal_joinable([b"x"]))
    with pytest.raises(SealBroken):
        CIPHER.open_joinable(batch)
    with pytest.raises(SealBroken):
        CIPHER.open_one(batch.header, 1, batch.fields[0])


def test_the_error_names_the_row_and_not_the_value():
    batch = CIPHER.seal([b"hush"] * 5, 100)
    forged = [*batch.fields[:3], bytes(20), batch.fields[4]]
    with pytest.raises(SealBroken, match="row 103") as caught:
        CIPHER.open(SealedBatch(batch.header, forged), 100)
    assert "hush" not in str(caught.value)


@given(st.binary(max_size=80), st.lists(st.binary(max_size=40), max_size=3))
def test_noise_is_refused(header, fields):
    with pytest.raises(SealBroken):
        CIPHER.open(SealedBatch(header, fields))
    with pytest.raises(SealBroken):
        CIPHER.open_joinable(SealedBatch(header, fields))


def test_a_batch_has_an_end():
    full = CIPHER.seal([b"x"] * BATCH_FIELDS)
    assert CIPHER.open(full) == [b"x"] * BATCH_FIELDS
    with pytest.raises(Invalid, match="at most"):
        CIPHER.seal([b"x"] * (BATCH_FIELDS + 1))


def test_a_cipher_says_nothing_of_its_key():
    assert repr(CIPHER) == "ColumnCipher(version=1)"
    assert not hasattr(CIPHER, "__dict__")


def test_names_that_cannot_be_bound_are_refused():
    for name in ("", "\ud800", "x" * 1025):
        with pytest.raises(Invalid):
            ColumnPlace("d", "c", name)


def test_the_work_of_a_batch_is_that_of_its_fields():
    """Twenty times as many fields cost no more than forty times as much: the best of seven, processor time."""

    few, many = ([b"value-%d" % i for i in range(count)] for count in (2_000, 40_000))

    def cost(fields):
        began = time.process_time()
        CIPHER.open(CIPHER.seal(fields))
        return time.process_time() - began

    allowed = 40 * min(cost(few) for _ in range(7))
    assert any(cost(many) < allowed for _ in range(7))

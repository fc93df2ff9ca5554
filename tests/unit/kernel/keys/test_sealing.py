import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.errors import Invalid
from vallum.kernel.keys import Purpose, SealBroken
from vallum.kernel.keys import sealing as module
from vallum.kernel.keys.sealing import SealingKey, binding, version_of
from vallum.kernel.keys.xaes import Xaes256Gcm

MATERIAL = bytes(range(32))
KEY = SealingKey(MATERIAL, "acme", Purpose.CONTENT, 7)
AAD = b"table\x00column\x00row"

tenants = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=60)


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_what_was_sealed_opens(data, aad):
    assert KEY.open(KEY.seal(data, aad), aad) == data
    assert KEY.open_joinable(KEY.seal_joinable(data, aad), aad) == data


@given(st.binary(max_size=64), st.data())
def test_no_flipped_bit_opens(data, draw):
    for seal, opened in ((KEY.seal, KEY.open), (KEY.seal_joinable, KEY.open_joinable)):
        sealed = bytearray(seal(data, AAD))
        bit = draw.draw(st.integers(0, len(sealed) * 8 - 1))
        sealed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            opened(bytes(sealed), AAD)


def test_every_single_bit_of_one_sealed_value_counts():
    for seal, opened in ((KEY.seal, KEY.open), (KEY.seal_joinable, KEY.open_joinable)):
        sealed = seal(b"data", AAD)
        for bit in range(len(sealed) * 8):
            flipped = bytearray(sealed)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(SealBroken):
                opened(bytes(flipped), AAD)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_no_other_place_opens(place, other):
    if place != other:
        for seal, opened in ((KEY.seal, KEY.open), (KEY.seal_joinable, KEY.open_joinable)):
            with pytest.raises(SealBroken):
                opened(seal(b"data", place), other)


@pytest.mark.parametrize(
    "other",
    [
        SealingKey(MATERIAL, "acme", Purpose.FIELDS, 7),
        SealingKey(MATERIAL, "acmf", Purpose.CONTENT, 7),
        SealingKey(MATERIAL, "acme", Purpose.CONTENT, 8),
        SealingKey(bytes(32), "acme", Purpose.CONTENT, 7),
    ],
    ids=["purpose", "tenant", "version", "material"],
)
def test_no_other_key_opens_even_with_the_same_material(other):
    with pytest.raises(SealBroken):
        other.open(KEY.seal(b"data", AAD), AAD)
    with pytest.raises(SealBroken):
        other.open_joinable(KEY.seal_joinable(b"data", AAD), AAD)


def test_the_two_formats_do_not_open_each_other():
    with pytest.raises(SealBroken):
        KEY.open_joinable(KEY.seal(b"data", AAD), AAD)
    with pytest.raises(SealBroken):
        KEY.open(KEY.seal_joinable(b"data" * 20, AAD), AAD)


@given(st.binary(max_size=80))
def test_noise_never_opens_and_never_raises_otherwise(noise):
    for opened in (KEY.open, KEY.open_joinable):
        with pytest.raises(SealBroken):
            opened(noise, AAD)


def test_every_truncation_and_an_appended_byte_are_refused():
    for seal, opened in ((KEY.seal, KEY.open), (KEY.seal_joinable, KEY.open_joinable)):
        sealed = seal(b"data", AAD)
        for altered in [sealed[:length] for length in range(len(sealed))] + [sealed + b"\x00"]:
            with pytest.raises(SealBroken):
                opened(altered, AAD)


def test_sealing_twice_differs_and_joining_twice_does_not():
    assert KEY.seal(b"data", AAD) != KEY.seal(b"data", AAD)
    assert KEY.seal_joinable(b"data", AAD) == KEY.seal_joinable(b"data", AAD)
    assert KEY.seal_joinable(b"data", AAD) != KEY.seal_joinable(b"data", b"another column")


def test_lengths_are_as_documented():
    assert len(KEY.seal(b"", b"")) == 45
    assert len(KEY.seal_joinable(b"", b"")) == 21


@given(st.tuples(tenants, st.sampled_from(Purpose)), st.tuples(tenants, st.sampled_from(Purpose)))
def test_no_two_places_read_alike(left, right):
    assert (binding(*left) == binding(*right)) == (left == right)


@pytest.mark.parametrize("tenant", ["", "a" * 256, "é" * 128, "a\x00b", "a\nb", "\ud800", "a\u202eb"])
def test_tenants_that_cannot_be_bound_are_refused(tenant):
    with pytest.raises(Invalid):
        binding(tenant, Purpose.CONTENT)


@pytest.mark.parametrize("version", [0, -1, 1 << 32])
def test_versions_that_do_not_fit_are_refused(version):
    with pytest.raises(ValueError):
        SealingKey(MATERIAL, "acme", Purpose.CONTENT, version)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_material_of_another_length_is_refused(length):
    with pytest.raises(ValueError):
        SealingKey(bytes(length), "acme", Purpose.CONTENT, 1)
    with pytest.raises(ValueError):
        Xaes256Gcm(bytes(length))


def test_a_nonce_of_another_length_is_refused():
    cipher = Xaes256Gcm(MATERIAL)
    for length in (0, 12, 23, 25):
        with pytest.raises(ValueError):
            cipher.encrypt(bytes(length), b"", b"")
        with pytest.raises(ValueError):
            cipher.decrypt(bytes(length), bytes(16), b"")


def test_what_is_too_large_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(module, "MAX_SEALED_BYTES", 10)
    for seal in (KEY.seal, KEY.seal_joinable):
        seal(bytes(10), AAD)
        with pytest.raises(Invalid):
            seal(bytes(11), AAD)


def test_the_version_is_read_from_the_header():
    assert version_of(KEY.seal(b"", b"")) == version_of(KEY.seal_joinable(b"", b"")) == 7
    with pytest.raises(SealBroken):
        version_of(bytes(20))


def test_a_key_shows_nothing_and_does_not_travel():
    assert MATERIAL.hex() not in repr(KEY)
    assert repr(MATERIAL)[2:-1] not in f"{KEY!r} {KEY}"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(KEY, protocol)

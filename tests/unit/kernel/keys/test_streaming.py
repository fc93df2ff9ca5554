import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.keys import SealBroken, StreamBroken, decrypt_stream, encrypt_stream
from vallum.kernel.keys import streaming as module

KEY = bytes(range(32))
AAD = b"artifact\x00a1"
CHUNK = 1024
HEADER = 38
SEALED_CHUNK = CHUNK + 16


def sealed(data: bytes, key: bytes = KEY, aad: bytes = AAD) -> bytes:
    return b"".join(encrypt_stream(key, [data], aad, chunk_bytes=CHUNK))


def opened(stream: bytes, key: bytes = KEY, aad: bytes = AAD) -> bytes:
    return b"".join(decrypt_stream(key, [stream], aad))


def pieces_of(stream: bytes) -> tuple[bytes, list[bytes]]:
    """The header, and each sealed chunk."""
    body = stream[HEADER:]
    return stream[:HEADER], [body[at : at + SEALED_CHUNK] for at in range(0, len(body), SEALED_CHUNK)]


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    marks = [0, *sorted(c for c in cuts if c < len(data)), len(data)]
    return [data[low:high] for low, high in pairwise(marks)]


lengths = st.one_of(
    st.integers(0, 5 * CHUNK), st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK])
)
cuts = st.lists(st.integers(0, 6 * CHUNK), max_size=20)


@given(lengths, cuts, cuts)
def test_a_stream_opens_however_it_was_cut(length, cuts_in, cuts_out):
    data = bytes(i * 7 % 256 for i in range(length))
    stream = b"".join(encrypt_stream(KEY, cut(data, cuts_in), AAD, chunk_bytes=CHUNK))
    assert b"".join(decrypt_stream(KEY, cut(stream, cuts_out), AAD)) == data
    chunks = max(1, -(-length // CHUNK))
    assert len(stream) == HEADER + length + 16 * chunks


def test_an_empty_stream_is_a_header_and_a_tag():
    for empty in ([], [b""], [b"", b""]):
        stream = b"".join(encrypt_stream(KEY, empty, AAD))
        assert len(stream) == HEADER + 16
        assert opened(stream) == b""
        for length in range(len(stream)):
            with pytest.raises(StreamBroken):
                opened(stream[:length])


@given(st.integers(0, 3 * CHUNK), st.data())
def test_no_flipped_bit_opens(length, data):
    stream = bytearray(sealed(bytes(length)))
    bit = data.draw(st.integers(0, len(stream) * 8 - 1))
    stream[bit // 8] ^= 1 << bit % 8
    with pytest.raises(StreamBroken):
        opened(bytes(stream))


@given(st.integers(0, 4 * CHUNK), st.data())
def test_no_truncation_opens(length, data):
    stream = sealed(bytes(length))
    with pytest.raises(StreamBroken):
        opened(stream[: data.draw(st.integers(0, len(stream) - 1))])


@given(st.integers(0, 3 * CHUNK), st.binary(min_size=1, max_size=2 * SEALED_CHUNK))
def test_nothing_can_be_appended(length, more):
    with pytest.raises(StreamBroken):
        opened(sealed(bytes(length)) + more)


@given(st.integers(1, 6), st.data())
def test_no_other_order_drop_or_repetition_of_chunks_opens(count, data):
    header, chunks = pieces_of(sealed(b"".join(bytes([n]) * CHUNK for n in range(count))))
    chosen = data.draw(st.lists(st.integers(0, count - 1), max_size=count + 2))
    if chosen != list(range(count)):
        with pytest.raises(StreamBroken):
            opened(header + b"".join(chunks[n] for n in chosen))


@given(st.integers(1, 5), st.data())
def test_no_chunk_or_header_of_another_stream_fits(count, data):
    plain = bytes(count * CHUNK)
    here, there = pieces_of(sealed(plain)), pieces_of(sealed(plain))
    mixed = [here[0], *here[1]]
    at = data.draw(st.integers(0, count))
    mixed[at] = [there[0], *there[1]][at]
    with pytest.raises(StreamBroken):
        opened(b"".join(mixed))


def test_two_streams_one_after_the_other_are_not_one():
    with pytest.raises(StreamBroken):
        opened(sealed(b"one") + sealed(b"two"))
    with pytest.raises(StreamBroken):
        opened(sealed(bytes(CHUNK)) + sealed(bytes(CHUNK))[HEADER:])


@pytest.mark.parametrize("log2", [0, 9, 11, 16, 22, 23, 63, 255])
def test_another_chunk_size_in_the_header_is_refused(log2):
    stream = bytearray(sealed(bytes(5000)))
    stream[5] = log2
    with pytest.raises(StreamBroken):
        opened(bytes(stream))


def test_another_key_or_place_does_not_open():
    stream = sealed(b"data")
    for key, aad in ((bytes(32), AAD), (KEY, b""), (KEY, AAD + b"\x00")):
        with pytest.raises(StreamBroken):
            opened(stream, key, aad)


def test_a_broken_stream_is_a_broken_seal():
    assert issubclass(StreamBroken, SealBroken)


def test_an_extra_empty_last_chunk_is_refused_even_from_who_holds_the_key():
    """One stream, one encoding: else two files would differ and open alike."""
    header = module._MAGIC + bytes([10]) + bytes(32)
    cipher = module._stream_key(KEY, header, AAD)
    full = cipher.encrypt(module._nonce(0, last=False), bytes(CHUNK), None)
    with pytest.raises(StreamBroken, match="empty last chunk"):
        opened(header + full + cipher.encrypt(module._nonce(1, last=True), b"", None))


def test_whole_chunks_are_given_before_the_break_and_never_after_it():
    header, chunks = pieces_of(sealed(b"a" * CHUNK + b"b" * CHUNK + b"c"))
    given_out = []
    with pytest.raises(StreamBroken):
        given_out.extend(decrypt_stream(KEY, [header, chunks[0], chunks[2]], AAD))
    assert given_out == [b"a" * CHUNK]
    stream = iter(decrypt_stream(KEY, [header, chunks[0], chunks[1], b"x"], AAD))
    assert next(stream) == b"a" * CHUNK


@pytest.mark.parametrize("size", [0, 1, 512, 1023, 1025, 3000, 1 << 23])
def test_chunk_sizes_outside_the_format_are_refused(size):
    with pytest.raises(ValueError):
        encrypt_stream(KEY, [b""], AAD, chunk_bytes=size)


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_keys_of_another_length_are_refused_at_once(length):
    with pytest.raises(ValueError):
        encrypt_stream(bytes(length), [b""], AAD)
    with pytest.raises(ValueError):
        decrypt_stream(bytes(length), [b""], AAD)


def test_a_stream_never_outgrows_its_nonces():
    module._nonce((1 << 32) - 1, last=True)
    with pytest.raises(StreamBroken):
        module._nonce(1 << 32, last=True)


def test_a_big_stream_needs_the_memory_of_a_few_chunks():
    piece = bytes(1 << 20)
    tracemalloc.start()
    try:
        stream = encrypt_stream(KEY, (piece for _ in range(64)), AAD)
        total = sum(len(chunk) for chunk in decrypt_stream(KEY, stream, AAD))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 64 << 20
    assert peak < 8 << 20

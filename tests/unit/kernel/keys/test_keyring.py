from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import text

from vallum.kernel.errors import Conflict, Invalid, NotFound, Unavailable
from vallum.kernel.keys import (
    DEFAULT_TENANT,
    EPOCH,
    FileRoot,
    KeyDestroyed,
    Keyring,
    OtherEnvironment,
    Purpose,
    SealBroken,
    StreamBroken,
)
from vallum.kernel.store.epochs import EpochWatch, read_epochs
from vallum.kernel.values import TenantId

ACME, OTHER = TenantId("acme"), TenantId("other")
AAD = b"table\x00column\x00row"


def versions(records, keyring):
    with records.read() as conn:
        return {(k.tenant, k.purpose): [(v.version, v.state) for v in k.versions] for k in keyring.describe(conn)}


def destroy(records, keyring, version=None, tenant=ACME, purpose=Purpose.CONTENT):
    with records.write() as conn:
        return keyring.destroy(conn, tenant, purpose, version)


def rotate(records, keyring, tenant=ACME, purpose=Purpose.CONTENT):
    with records.write() as conn:
        return keyring.rotate(conn, tenant, purpose)


# Sealing.


def test_what_was_sealed_opens_in_every_process(keyring, other_process):
    sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", AAD)
    assert keyring.open(ACME, Purpose.CONTENT, sealed, AAD) == b"data"
    assert other_process.open(ACME, Purpose.CONTENT, sealed, AAD) == b"data"


@pytest.mark.parametrize("purpose", Purpose)
def test_no_other_tenant_purpose_or_place_opens(keyring, purpose):
    sealed = keyring.seal(ACME, purpose, b"data", AAD)
    for tenant in (ACME, OTHER):
        for other in Purpose:
            keyring.seal(tenant, other, b"", b"")  # so that each has a key of version 1 too
            if (tenant, other) != (ACME, purpose):
                with pytest.raises(SealBroken):
                    keyring.open(tenant, other, sealed, AAD)
    with pytest.raises(SealBroken):
        keyring.open(ACME, purpose, sealed, AAD + b"\x00")


def test_a_key_version_that_never_was_is_a_broken_seal(keyring):
    sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", AAD)
    for version in (0, 2, (1 << 32) - 1):
        with pytest.raises(SealBroken):
            keyring.open(ACME, Purpose.CONTENT, sealed[:1] + version.to_bytes(4, "big") + sealed[5:], AAD)
    with pytest.raises(SealBroken):
        keyring.open(OTHER, Purpose.CONTENT, sealed, AAD)


@pytest.mark.parametrize("tenant", ["", "a\x00b", "a" * 256, "\ud800"])
def test_a_tenant_that_cannot_be_bound_never_reaches_the_database(keyring, tenant):
    with pytest.raises(Invalid):
        keyring.seal(TenantId(tenant), Purpose.CONTENT, b"", b"")
    with pytest.raises(Invalid):
        keyring.open(TenantId(tenant), Purpose.CONTENT, bytes(60), b"")


def test_the_database_holds_no_key_in_the_clear(records, keyring, root):
    keyring.seal(ACME, Purpose.CONTENT, b"data", AAD)
    material = keyring._held[ACME, Purpose.CONTENT, 1].key._material
    with records.read() as conn:
        (wrapped,) = conn.execute(text("SELECT wrapped FROM keyset_versions")).scalars()
    assert material not in bytes(wrapped)
    assert root.unwrap(bytes(wrapped), b"vallum/keyset/1\x00\x04acme\x07content\x00\x00\x00\x01") == material


def test_a_wrapped_key_moved_to_another_tenant_does_not_unwrap(records, keyring, other_process):
    sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", AAD)
    with records.write() as conn:
        conn.execute(text("UPDATE keyset_versions SET tenant = 'other'"))
    with pytest.raises(SealBroken):
        other_process.open(OTHER, Purpose.CONTENT, sealed, AAD)


def test_a_key_of_a_root_that_is_not_configured_is_named(records, keyring, clock, tmp_path):
    sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", AAD)
    stranger = FileRoot.create(tmp_path / "another.key", None)
    with pytest.raises(SealBroken):
        Keyring(records, stranger, clock).open(ACME, Purpose.CONTENT, sealed, AAD)
    stranger.name = "kms"
    with pytest.raises(SealBroken, match="'file', which is not configured"):
        Keyring(records, stranger, clock).open(ACME, Purpose.CONTENT, sealed, AAD)


# First use.


def test_two_processes_that_begin_at_once_make_one_key(records, keyring, other_process):
    start = Barrier(8)

    def first(ring):
        start.wait()
        return ring.seal(ACME, Purpose.CONTENT, b"data", AAD)

    with ThreadPoolExecutor(8) as pool:
        all_sealed = list(pool.map(first, [keyring, other_process] * 4))
    assert versions(records, keyring) == {(ACME, Purpose.CONTENT): [(1, "current")]}
    for sealed in all_sealed:
        assert keyring.open(ACME, Purpose.CONTENT, sealed, AAD) == b"data"
        assert other_process.open(ACME, Purpose.CONTENT, sealed, AAD) == b"data"


def test_a_key_made_inside_a_transaction_lives_and_dies_with_it(records, keyring, other_process):
    with pytest.raises(RuntimeError), records.write() as conn:
        sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", AAD, conn=conn)
        assert keyring.open(ACME, Purpose.CONTENT, sealed, AAD, conn=conn) == b"data"
        raise RuntimeError
    assert versions(records, keyring) == {}
    with pytest.raises(SealBroken):
        keyring.open(ACME, Purpose.CONTENT, sealed, AAD)
    with records.write() as conn:
        sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", AAD, conn=conn)
        again = keyring.seal(ACME, Purpose.CONTENT, b"more", AAD, conn=conn)
    assert versions(records, keyring) == {(ACME, Purpose.CONTENT): [(1, "current")]}
    assert other_process.open(ACME, Purpose.CONTENT, sealed, AAD) == b"data"
    assert other_process.open(ACME, Purpose.CONTENT, again, AAD) == b"more"


def test_every_call_works_inside_a_transaction(records, keyring):
    with records.write() as conn:
        joined = keyring.seal_joinable(ACME, b"data", b"column", conn=conn)
        assert keyring.joinable_forms(ACME, b"data", b"column", conn=conn) == (joined,)
        assert keyring.open_joinable(ACME, joined, b"column", conn=conn) == b"data"
        made = keyring.signing_key("log", conn=conn)
        assert keyring.signing_key("log", conn=conn).private_bytes_raw() == made.private_bytes_raw()
        assert keyring.rotate(conn, ACME, Purpose.FIELDS) == 2
        assert keyring.seal_joinable(ACME, b"data", b"column", conn=conn) != joined
        assert keyring.rewrap(conn) == 3
        assert keyring.destroy(conn, ACME, Purpose.FIELDS, 1) == 1
        with pytest.raises(KeyDestroyed):
            keyring.open_joinable(ACME, joined, b"column", conn=conn)
    with pytest.raises(KeyDestroyed):
        keyring.open_joinable(ACME, joined, b"column")


# Joinable values.


def test_equal_values_join_within_a_column_and_nowhere_else(keyring, other_process):
    sealed = keyring.seal_joinable(ACME, b"value", b"column")
    assert other_process.seal_joinable(ACME, b"value", b"column") == sealed
    assert other_process.open_joinable(ACME, sealed, b"column") == b"value"
    assert keyring.seal_joinable(ACME, b"value", b"another") != sealed
    assert keyring.seal_joinable(OTHER, b"value", b"column")[5:] != sealed[5:]
    for tenant, column in ((ACME, b"another"), (OTHER, b"column")):
        with pytest.raises(SealBroken):
            keyring.open_joinable(tenant, sealed, column)


def test_a_value_is_found_across_rotations(records, keyring):
    assert keyring.joinable_forms(ACME, b"value", b"column") == ()
    forms = [keyring.seal_joinable(ACME, b"value", b"column")]
    for _ in range(2):
        rotate(records, keyring, purpose=Purpose.FIELDS)
        forms.insert(0, keyring.seal_joinable(ACME, b"value", b"column"))
    assert keyring.joinable_forms(ACME, b"value", b"column") == tuple(forms)
    destroy(records, keyring, 2, purpose=Purpose.FIELDS)
    assert keyring.joinable_forms(ACME, b"value", b"column") == (forms[0], forms[2])


# Rotation.


def test_rotation_seals_anew_and_still_opens(records, keyring, other_process):
    former = keyring.seal(ACME, Purpose.CONTENT, b"former", AAD)
    other_process.open(ACME, Purpose.CONTENT, former, AAD)
    assert rotate(records, keyring) == 2
    current = keyring.seal(ACME, Purpose.CONTENT, b"current", AAD)
    assert (former[1:5], current[1:5]) == (b"\0\0\0\1", b"\0\0\0\2")
    for ring in (keyring, other_process):  # a version made elsewhere is found at once
        assert ring.open(ACME, Purpose.CONTENT, former, AAD) == b"former"
        assert ring.open(ACME, Purpose.CONTENT, current, AAD) == b"current"
    other_process.refresh()
    assert other_process.seal(ACME, Purpose.CONTENT, b"", AAD)[1:5] == b"\0\0\0\2"
    assert versions(records, keyring) == {(ACME, Purpose.CONTENT): [(1, "former"), (2, "current")]}


def test_a_rotation_that_rolls_back_never_was(records, keyring):
    keyring.seal(ACME, Purpose.CONTENT, b"", AAD)
    with pytest.raises(RuntimeError), records.write() as conn:
        keyring.rotate(conn, ACME, Purpose.CONTENT)
        inside = keyring.seal(ACME, Purpose.CONTENT, b"", AAD, conn=conn)
        raise RuntimeError
    assert inside[1:5] == b"\0\0\0\2"
    assert keyring.seal(ACME, Purpose.CONTENT, b"", AAD)[1:5] == b"\0\0\0\1"
    with pytest.raises(SealBroken):
        keyring.open(ACME, Purpose.CONTENT, inside, AAD)


def test_what_was_never_used_cannot_be_rotated(records, keyring):
    with pytest.raises(NotFound):
        rotate(records, keyring)


def test_rotations_at_once_give_each_number_once(records, keyring, other_process):
    keyring.seal(ACME, Purpose.CONTENT, b"", AAD)
    start = Barrier(4)

    def attempt(ring):
        start.wait()
        try:
            return rotate(records, ring)
        except Conflict:
            return None

    with ThreadPoolExecutor(4) as pool:
        given = [n for n in pool.map(attempt, [keyring, other_process] * 2) if n is not None]
    assert sorted(given) == list(range(2, 2 + len(given)))
    assert given


# Wrapping anew.


def test_rewrap_moves_every_key_to_the_newest_root_key(records, keyring, root, clock, tmp_path):
    sealed = [keyring.seal(ACME, purpose, b"data", AAD) for purpose in Purpose]
    rotate(records, keyring)
    destroy(records, keyring, purpose=Purpose.FIELDS)
    root.rotate()
    with records.write() as conn:
        assert keyring.rewrap(conn) == len(Purpose)  # one more by rotation, one fewer by destruction
    root.drop_former()
    anew = Keyring(records, FileRoot.open(tmp_path / "root.key", None), clock)
    for purpose, one in zip(Purpose, sealed, strict=True):
        if purpose is not Purpose.FIELDS:
            assert anew.open(ACME, purpose, one, AAD) == b"data"
    with pytest.raises(KeyDestroyed):
        anew.open(ACME, Purpose.FIELDS, sealed[list(Purpose).index(Purpose.FIELDS)], AAD)


def test_a_backup_from_before_a_dropped_root_key_opens_nothing(records, keyring, root, clock, tmp_path):
    sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", AAD)
    with records.read() as conn:
        backup = bytes(conn.execute(text("SELECT wrapped FROM keyset_versions")).scalar_one())
    destroy(records, keyring)
    root.rotate()
    with records.write() as conn:
        keyring.rewrap(conn)
    root.drop_former()
    with records.write() as conn:
        conn.execute(text("UPDATE keyset_versions SET wrapped = :w, destroyed_at = NULL"), {"w": backup})
    with pytest.raises(SealBroken):
        Keyring(records, FileRoot.open(tmp_path / "root.key", None), clock).open(ACME, Purpose.CONTENT, sealed, AAD)


def test_keys_move_from_one_provider_to_another(records, keyring, root, clock, tmp_path):
    sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", AAD)
    other = FileRoot.create(tmp_path / "kms.key", None)
    other.name = "kms"
    both = Keyring(records, other, clock, former_roots=[root])
    assert both.open(ACME, Purpose.CONTENT, sealed, AAD) == b"data"
    with records.write() as conn:
        assert both.rewrap(conn) == 1
    assert Keyring(records, other, clock).open(ACME, Purpose.CONTENT, sealed, AAD) == b"data"


def test_all_keys_move_to_a_root_of_the_same_name_and_the_former_opens_nothing(records, keyring, root, clock, tmp_path):
    sealed = [keyring.seal(ACME, purpose, b"data", AAD) for purpose in Purpose if purpose is not Purpose.FIELDS]
    keyring.seal(ACME, Purpose.FIELDS, b"data", AAD)
    destroy(records, keyring, purpose=Purpose.FIELDS)
    to = FileRoot.create(tmp_path / "elsewhere.key", None)
    moving = Keyring(records, to, clock, former_roots=[root])
    with records.write() as conn:
        assert moving.rewrap(conn) == len(sealed)
    late = Keyring(records, root, clock).seal(OTHER, Purpose.CONTENT, b"late", AAD)  # a process that was still up
    with records.write() as conn:
        assert moving.rewrap(conn) == len(sealed) + 1
    former, moved = Keyring(records, root, clock), Keyring(records, to, clock)
    kept = [purpose for purpose in Purpose if purpose is not Purpose.FIELDS]
    for tenant, purpose, one in [*((ACME, p, s) for p, s in zip(kept, sealed, strict=True)), (OTHER, kept[0], late)]:
        assert moved.open(tenant, purpose, one, AAD) in (b"data", b"late")
        with pytest.raises(SealBroken):
            former.open(tenant, purpose, one, AAD)


@pytest.mark.parametrize("fault", ["altered", "unavailable", "forgetful"])
def test_a_move_that_cannot_be_finished_changes_nothing(records, keyring, root, clock, tmp_path, fault):
    sealed = [keyring.seal(tenant, Purpose.CONTENT, b"data", AAD) for tenant in (ACME, OTHER)]
    there = FileRoot.create(tmp_path / "elsewhere.key", None)

    class To:
        name = "service"
        wraps = 0

        def wrap(self, key, context):
            self.wraps += 1
            if fault == "unavailable" and self.wraps == 2:
                raise Unavailable("it does not answer")
            return there.wrap(bytes(32) if fault == "forgetful" and self.wraps == 2 else key, context)

        unwrap = staticmethod(there.unwrap)

    if fault == "altered":
        with records.write() as conn:
            conn.execute(text("UPDATE keyset_versions SET wrapped = :w WHERE tenant = 'other'"), {"w": bytes(100)})
    with records.read() as conn:
        before = conn.execute(text("SELECT wrapped, root FROM keyset_versions ORDER BY tenant")).all()
    with pytest.raises((SealBroken, Unavailable)), records.write() as conn:
        Keyring(records, To(), clock, former_roots=[root]).rewrap(conn)
    with records.read() as conn:
        assert conn.execute(text("SELECT wrapped, root FROM keyset_versions ORDER BY tenant")).all() == before
    assert Keyring(records, root, clock).open(ACME, Purpose.CONTENT, sealed[0], AAD) == b"data"


def test_rewrap_stops_at_an_altered_key_and_changes_nothing(records, keyring):
    for tenant in (ACME, OTHER):
        keyring.seal(tenant, Purpose.CONTENT, b"data", AAD)
    with records.write() as conn:
        conn.execute(text("UPDATE keyset_versions SET wrapped = :w WHERE tenant = 'other'"), {"w": bytes(100)})
    with records.read() as conn:
        before = conn.execute(text("SELECT wrapped FROM keyset_versions ORDER BY tenant")).scalars().all()
    with pytest.raises(SealBroken), records.write() as conn:
        keyring.rewrap(conn)
    with records.read() as conn:
        assert conn.execute(text("SELECT wrapped FROM keyset_versions ORDER BY tenant")).scalars().all() == before


def test_a_key_destroyed_while_it_is_wrapped_anew_does_not_come_back(records, root, clock, keyring):
    if records.dialect == "sqlite":
        pytest.skip("SQLite's writers take turns")
    sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", AAD)

    class DestroysMeanwhile:
        name = "file"
        wrap = staticmethod(root.wrap)

        def unwrap(self, wrapped, context):
            destroy(records, keyring)
            return root.unwrap(wrapped, context)

    with records.write() as conn:
        assert Keyring(records, DestroysMeanwhile(), clock).rewrap(conn) == 0
    assert versions(records, keyring) == {(ACME, Purpose.CONTENT): [(1, "destroyed")]}
    with pytest.raises(KeyDestroyed):
        keyring.open(ACME, Purpose.CONTENT, sealed, AAD)


# Destruction.


def test_after_destruction_nothing_opens(records, keyring, other_process):
    sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", AAD)
    spared = keyring.seal(OTHER, Purpose.CONTENT, b"data", AAD)
    stream = list(keyring.seal_stream(ACME, Purpose.CONTENT, [b"data"], AAD))
    assert destroy(records, keyring) == 1
    for ring in (keyring, other_process):
        with pytest.raises(KeyDestroyed):
            ring.open(ACME, Purpose.CONTENT, sealed, AAD)
        with pytest.raises(KeyDestroyed):
            list(ring.open_stream(ACME, Purpose.CONTENT, stream, AAD))
        assert ring.open(OTHER, Purpose.CONTENT, spared, AAD) == b"data"
    with records.read() as conn:
        held = conn.execute(text("SELECT wrapped FROM keyset_versions WHERE tenant = 'acme'")).scalar_one()
    assert held is None


def test_another_process_forgets_at_its_next_refresh(records, keyring, other_process):
    watch = EpochWatch(records)
    watch.subscribe(EPOCH, other_process.refresh)
    sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", AAD)
    spared = keyring.seal(OTHER, Purpose.CONTENT, b"data", AAD)
    for one, tenant in ((sealed, ACME), (spared, OTHER)):
        other_process.open(tenant, Purpose.CONTENT, one, AAD)
    watch.poll_once()
    destroy(records, keyring)
    watch.poll_once()
    with pytest.raises(KeyDestroyed):
        other_process.open(ACME, Purpose.CONTENT, sealed, AAD)
    assert other_process.seal(ACME, Purpose.CONTENT, b"", AAD)[1:5] == b"\0\0\0\2"
    assert (OTHER, Purpose.CONTENT, 1) in other_process._held  # what did not change was not dropped


def test_a_number_is_never_given_again(records, keyring):
    first = keyring.seal(ACME, Purpose.CONTENT, b"data", AAD)
    destroy(records, keyring)
    second = keyring.seal(ACME, Purpose.CONTENT, b"data", AAD)
    assert second[1:5] == b"\0\0\0\2"
    destroy(records, keyring)
    assert rotate(records, keyring) == 3
    assert keyring.seal(ACME, Purpose.CONTENT, b"data", AAD)[1:5] == b"\0\0\0\3"
    for sealed in (first, second):
        with pytest.raises(KeyDestroyed):
            keyring.open(ACME, Purpose.CONTENT, sealed, AAD)


def test_one_version_is_destroyed_and_the_others_stay(records, keyring, clock):
    former = keyring.seal(ACME, Purpose.CONTENT, b"former", AAD)
    rotate(records, keyring)
    current = keyring.seal(ACME, Purpose.CONTENT, b"current", AAD)
    clock.advance(60)
    assert destroy(records, keyring, 1) == 1
    assert destroy(records, keyring, 1) == 0
    with pytest.raises(KeyDestroyed):
        keyring.open(ACME, Purpose.CONTENT, former, AAD)
    assert keyring.open(ACME, Purpose.CONTENT, current, AAD) == b"current"
    with records.read() as conn:
        (keyset,) = keyring.describe(conn)
    assert keyset.current == 2
    assert keyset.versions[0].destroyed_at == "2026-01-02T03:05:05.000000Z"
    assert keyset.versions[1].destroyed_at is None


def test_a_destruction_that_rolls_back_never_was(records, keyring):
    sealed = keyring.seal(ACME, Purpose.CONTENT, b"data", AAD)
    with pytest.raises(RuntimeError), records.write() as conn:
        keyring.destroy(conn, ACME, Purpose.CONTENT)
        with pytest.raises(KeyDestroyed):
            keyring.open(ACME, Purpose.CONTENT, sealed, AAD, conn=conn)
        raise RuntimeError
    assert keyring.open(ACME, Purpose.CONTENT, sealed, AAD) == b"data"


def test_what_is_not_there_cannot_be_destroyed(records, keyring):
    with pytest.raises(NotFound):
        destroy(records, keyring)
    keyring.seal(ACME, Purpose.CONTENT, b"", AAD)
    with pytest.raises(NotFound):
        destroy(records, keyring, 2)


def test_changes_are_told_to_other_processes(records, keyring):
    keyring.seal(ACME, Purpose.CONTENT, b"", AAD)
    seen = []
    for change in (rotate, destroy):
        change(records, keyring)
        with records.read() as conn:
            seen.append(read_epochs(conn)[EPOCH])
    assert seen == [1, 2]


# Streams.


def test_a_stream_opens_however_it_was_cut(keyring, other_process):
    data = bytes(range(256)) * 1000
    stream = b"".join(keyring.seal_stream(ACME, Purpose.ARTIFACTS, [data[:7], data[7:]], AAD))
    for size in (1, 77, 78, 79, 100_000, len(stream)):
        if size > 1 or len(stream) < 1000:
            chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
            assert b"".join(other_process.open_stream(ACME, Purpose.ARTIFACTS, chunks, AAD)) == data


def test_a_streams_key_fits_no_other_stream_or_place(keyring):
    one = b"".join(keyring.seal_stream(ACME, Purpose.ARTIFACTS, [b"data"], AAD))
    two = b"".join(keyring.seal_stream(ACME, Purpose.ARTIFACTS, [b"data"], AAD))
    lead = 45 + 32
    for stream, tenant, purpose, aad in (
        (one[:lead] + two[lead:], ACME, Purpose.ARTIFACTS, AAD),
        (one, ACME, Purpose.ARTIFACTS, b"elsewhere"),
        (one, OTHER, Purpose.ARTIFACTS, AAD),
        (one, ACME, Purpose.CONTENT, AAD),
    ):
        with pytest.raises(SealBroken):
            list(keyring.open_stream(tenant, purpose, [stream], aad))
    for length in range(len(one)):
        with pytest.raises(StreamBroken):
            list(keyring.open_stream(ACME, Purpose.ARTIFACTS, [one[:length]], AAD))
    with pytest.raises(SealBroken):  # the sealed key of a stream is no sealed value to be had with `open`
        keyring.open(ACME, Purpose.ARTIFACTS, one[:lead], AAD)


# Signing keys.


def test_every_process_signs_with_the_same_key(keyring, other_process):
    start = Barrier(6)

    def first(ring):
        start.wait()
        return ring.signing_key("ledger:test").private_bytes_raw()

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(first, [keyring, other_process] * 3))) == 1
    assert keyring.signing_key("another").private_bytes_raw() != first_key(keyring)


def first_key(keyring):
    return keyring.signing_key("ledger:test").private_bytes_raw()


def test_a_signing_key_survives_rotation(records, keyring, other_process):
    before = first_key(keyring)
    rotate(records, keyring, DEFAULT_TENANT, Purpose.SIGNING)
    assert first_key(keyring) == first_key(other_process) == before


@pytest.mark.parametrize("name", ["", "a\nb", "a" * 256, "\x00"])
def test_a_signing_key_has_a_printable_name(keyring, name):
    with pytest.raises(Invalid):
        keyring.signing_key(name)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE signing_keys SET name = 'b' WHERE name = 'a'",
        "UPDATE signing_keys SET public = :noise",
        "UPDATE signing_keys SET sealed = :noise",
    ],
)
def test_an_altered_signing_key_is_refused(records, keyring, other_process, tampering):
    keyring.signing_key("a")
    with records.write() as conn:
        conn.execute(text(tampering), {"noise": bytes(77)} if ":noise" in tampering else {})
    with pytest.raises(SealBroken):
        other_process.signing_key("b" if "name" in tampering else "a")


def test_memory_starts_over_rather_than_growing(keyring, monkeypatch):
    monkeypatch.setattr("vallum.kernel.keys.keyring._MAX_HELD", 3)
    sealed = {t: keyring.seal(TenantId(t), Purpose.CONTENT, b"data", AAD) for t in "abcdefg"}
    assert len(keyring._held) <= 3
    assert len(keyring._current) <= 3
    for tenant, one in sealed.items():
        assert keyring.open(TenantId(tenant), Purpose.CONTENT, one, AAD) == b"data"


# Environments.


@pytest.mark.parametrize(("made_in", "opened_in"), [("prod", "dev"), ("prod", ""), ("", "prod"), ("dev", "de")])
def test_keys_of_one_environment_open_in_no_other(records, keyring, root, clock, made_in, opened_in):
    """With the database and the root key both copied: what wrapped them says where."""
    made = Keyring(records, root, clock, environment=made_in)
    made.check_environment()  # nothing is there yet
    sealed = made.seal(ACME, Purpose.CONTENT, b"private", AAD)
    made.check_environment()
    Keyring(records, root, clock, environment=made_in).check_environment()
    elsewhere = Keyring(records, root, clock, environment=opened_in)
    with pytest.raises(OtherEnvironment, match="another environment's"):
        elsewhere.check_environment()
    with pytest.raises(SealBroken):
        elsewhere.open(ACME, Purpose.CONTENT, sealed, AAD)
    assert Keyring(records, root, clock, environment=made_in).open(ACME, Purpose.CONTENT, sealed, AAD) == b"private"

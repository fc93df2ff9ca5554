from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from vallum.kernel.errors import Conflict, Invalid, NotFound
from vallum.kernel.keys import (
    DEFAULT_TENANT,
    EPOCH,
    KeyDestroyed,
    Lease,
    Purpose,
    SealBroken,
    SecretRefused,
    Vault,
)
from vallum.kernel.store.epochs import EpochWatch

SECRET = b"sk-a-very-secret-value"


OPENAI = "provider:openai"


def put(records, vault, name="openai", value=SECRET, **options):
    options = {"consumers": [OPENAI], **options}
    with records.write() as conn:
        return vault.put(conn, name, value, **options)


def reveal(vault, name="openai", consumer=OPENAI):
    return vault.reveal(name, consumer).value


def rows(records, query="SELECT name, version, consumers FROM secret_versions ORDER BY name, version"):
    with records.read() as conn:
        return [tuple(row) for row in conn.execute(text(query))]


@pytest.fixture
def elsewhere(records, other_process, clock):
    return Vault(records, other_process, clock)


def test_a_secret_is_revealed_in_every_process(records, vault, elsewhere):
    put(records, vault)
    assert reveal(vault, "openai") == reveal(elsewhere, "openai") == SECRET


def test_names_and_times_are_listed_and_never_values(records, vault, clock):
    put(records, vault, "openai")
    put(records, vault, "anthropic/team-a")
    clock.advance(60)
    put(records, vault, "openai", b"another")
    listed = vault.list()
    assert [(s.name, s.created_at[11:19], s.updated_at[11:19]) for s in listed] == [
        ("anthropic/team-a", "03:04:05", "03:04:05"),
        ("openai", "03:04:05", "03:05:05"),
    ]
    assert "very-secret" not in repr(listed)
    assert "very-secret" not in f"{vault!r} {vars(vault)!r}"


def test_the_table_holds_only_what_is_sealed(records, vault):
    put(records, vault)
    with records.read() as conn:
        assert SECRET not in bytes(conn.execute(text("SELECT sealed FROM secret_versions")).scalar_one())


def test_a_replaced_secret_is_seen_here_at_once_and_elsewhere_after_a_refresh(records, vault, elsewhere):
    watch = EpochWatch(records)
    watch.subscribe(EPOCH, elsewhere.refresh)
    put(records, vault)
    reveal(elsewhere, "openai")
    watch.poll_once()
    put(records, vault, value=b"another")
    assert reveal(vault, "openai") == b"another"
    watch.poll_once()
    assert reveal(elsewhere, "openai") == b"another"


def test_a_deleted_secret_is_gone(records, vault, elsewhere):
    put(records, vault)
    reveal(elsewhere, "openai")
    with records.write() as conn:
        vault.delete(conn, "openai")
    elsewhere.refresh()
    for one in (vault, elsewhere):
        with pytest.raises(NotFound):
            reveal(one, "openai")
    assert vault.list() == []
    with pytest.raises(NotFound), records.write() as conn:
        vault.delete(conn, "openai")


def test_a_change_that_rolls_back_never_was(records, vault):
    put(records, vault)
    with pytest.raises(RuntimeError), records.write() as conn:
        vault.put(conn, "openai", b"another")
        raise RuntimeError
    with pytest.raises(RuntimeError), records.write() as conn:
        vault.delete(conn, "openai")
        raise RuntimeError
    assert reveal(vault, "openai") == SECRET


@pytest.mark.parametrize("name", ["", "OpenAI", ".hidden", "a b", "a\n", "a\x00", "é", "../x", "a" * 129, "'; DROP"])
def test_a_bad_name_is_refused_and_never_found(records, vault, name):
    with pytest.raises(Invalid):
        put(records, vault, name)
    with pytest.raises(NotFound):
        reveal(vault, name)


@pytest.mark.parametrize("size", [0, 64 * 1024 + 1])
def test_a_value_of_a_bad_size_is_refused_without_being_quoted(records, vault, size):
    with pytest.raises(Invalid) as refused:
        put(records, vault, value=b"s" * size)
    assert "sss" not in str(refused.value)


def test_the_largest_value_fits(records, vault):
    put(records, vault, value=b"s" * 64 * 1024)
    assert len(reveal(vault, "openai")) == 64 * 1024


def test_a_secret_moved_to_another_name_is_refused(records, vault):
    put(records, vault, "weak")
    with records.write() as conn:
        conn.execute(text("UPDATE secrets SET name = 'strong'"))
        conn.execute(text("UPDATE secret_versions SET name = 'strong'"))
    with pytest.raises(SealBroken):
        reveal(vault, "strong")


def test_destroying_the_key_destroys_the_secrets(records, vault, keyring, elsewhere):
    put(records, vault)
    with records.write() as conn:
        keyring.destroy(conn, DEFAULT_TENANT, Purpose.SECRETS)
    for one in (vault, elsewhere):
        with pytest.raises(KeyDestroyed):
            reveal(one, "openai")
    put(records, vault, value=b"anew")
    elsewhere.refresh()
    assert reveal(elsewhere, "openai") == b"anew"


# Who may have it.


@pytest.mark.parametrize(
    "consumer",
    ["provider:other", "provider:openai2", "provider:open", "provider:", "", "any", "openai", "PROVIDER:openai"],
)
def test_no_other_consumer_is_given_it(records, vault, consumer):
    put(records, vault)
    with pytest.raises(SecretRefused) as refused:
        vault.reveal("openai", consumer)
    with pytest.raises(SecretRefused):
        vault.reveal_other("openai", consumer)
    assert SECRET.decode() not in str(refused.value)
    assert vault.versions("openai")[0].last_used_by is None


def test_a_secret_bound_to_nobody_is_refused_to_everybody(records, vault):
    for consumers in (None, []):
        put(records, vault, "nobodys", consumers=consumers)
        for consumer in (OPENAI, "any", "", " "):
            with pytest.raises(SecretRefused):
                vault.reveal("nobodys", consumer)


def test_a_fresh_value_keeps_its_consumers_unless_they_are_named(records, vault):
    put(records, vault, consumers=["provider:b", OPENAI, "provider:b"])
    assert put(records, vault, value=b"second", consumers=None).consumers == ("provider:b", OPENAI)
    assert reveal(vault, consumer="provider:b") == b"second"
    put(records, vault, value=b"third", consumers=["provider:b"])
    with pytest.raises(SecretRefused):
        vault.reveal("openai", OPENAI)
    with pytest.raises(SecretRefused):  # nor the one before, which it might have had
        vault.reveal_other("openai", OPENAI)


@pytest.mark.parametrize(
    "consumers", [["any"], ["openai"], ["provider:"], ["provider:a b"], ["tool:x"], ["provider:a\x00"], ["provider:é"]]
)
def test_a_consumer_is_a_provider(records, vault, consumers):
    with pytest.raises(Invalid):
        put(records, vault, consumers=consumers)


def test_rebinding_a_row_in_the_database_breaks_it(records, vault, elsewhere):
    put(records, vault)
    for consumers in ("provider:mallory", "any", f"provider:mallory {OPENAI}"):
        with records.write() as conn:
            conn.execute(text("UPDATE secret_versions SET consumers = :c"), {"c": consumers})
        elsewhere.refresh()
        with pytest.raises(SealBroken):
            elsewhere.reveal("openai", "provider:mallory" if consumers != "any" else OPENAI)


def put_by_an_earlier_release(records, keyring, name="old", value=SECRET):
    aad = b"secrets\x00sealed\x00" + name.encode()
    sealed, at = keyring.seal(DEFAULT_TENANT, Purpose.SECRETS, value, aad), "2026-01-01T00:00:00.000000Z"
    with records.write() as conn:
        head = "INSERT INTO secrets (name, created_at, updated_at, version, newest) VALUES (:name, :at, :at, 1, 1)"
        conn.execute(text(head), {"name": name, "at": at})
        row = (
            "INSERT INTO secret_versions (name, version, sealed, consumers, created_at) "
            "VALUES (:name, 1, :sealed, 'any', :at)"
        )
        conn.execute(text(row), {"name": name, "at": at, "sealed": sealed})


def test_what_an_earlier_release_put_goes_on_for_anybody(records, vault, keyring):
    put_by_an_earlier_release(records, keyring)
    assert reveal(vault, "old", "provider:whoever") == SECRET
    assert vault.list()[0].consumers == ("any",)
    put(records, vault, "old", b"second", consumers=None)
    assert reveal(vault, "old", "provider:whoever") == b"second"
    put(records, vault, "old", b"third")
    with pytest.raises(SecretRefused):
        vault.reveal("old", "provider:whoever")


# Versions.


def test_the_former_version_stays_for_the_overlap_and_not_a_second_longer(records, vault, elsewhere, clock):
    assert put(records, vault).version == 1
    made = put(records, vault, value=b"second", overlap_seconds=600)
    assert (made.version, made.state) == (2, "current")
    for one in (vault, elsewhere):
        assert reveal(one) == b"second"
        assert one.reveal_other("openai", OPENAI).value == SECRET
    assert [(v.version, v.state, v.readable_until) for v in vault.versions("openai")] == [
        (1, "former", "2026-01-02T03:14:05.000000Z"),
        (2, "current", None),
    ]
    clock.advance(600)
    for one in (vault, elsewhere):  # though nobody has erased it
        assert one.reveal_other("openai", OPENAI) is None
    assert [v.version for v in vault.versions("openai")] == [2]
    assert len(rows(records)) == 2
    with records.write() as conn:
        assert vault.expired(conn) == 1
        assert vault.erase_expired(conn) == 1
    assert rows(records) == [("openai", 2, OPENAI)]


def test_a_clock_that_goes_back_brings_no_version_back(records, vault, clock):
    put(records, vault)
    put(records, vault, value=b"second", overlap_seconds=60)
    clock.advance(61)
    assert vault.reveal_other("openai", OPENAI) is None
    clock.advance(-3600)
    assert vault.reveal_other("openai", OPENAI) is None
    with pytest.raises(Conflict), records.write() as conn:
        vault.rollback(conn, "openai")
    assert reveal(vault) == b"second"


def test_without_an_overlap_all_former_versions_are_erased_at_once(records, vault, tmp_path):
    put(records, vault)
    put(records, vault, value=b"second", overlap_seconds=86_400)
    ((sealed,), _) = rows(records, "SELECT sealed FROM secret_versions ORDER BY version")
    put(records, vault, value=b"third", overlap_seconds=0)
    assert rows(records) == [("openai", 3, OPENAI)]
    assert vault.reveal_other("openai", OPENAI) is None
    if records.dialect == "sqlite":
        assert bytes(sealed) not in b"".join(file.read_bytes() for file in tmp_path.glob("records.db*"))


@pytest.mark.parametrize("seconds", [-1, 30 * 86_400 + 1])
def test_an_overlap_out_of_range_is_refused(records, vault, seconds):
    with pytest.raises(Invalid):
        put(records, vault, overlap_seconds=seconds)


def test_back_to_the_version_before_and_on_to_a_new_number(records, vault, clock):
    put(records, vault)
    put(records, vault, value=b"second")
    with records.write() as conn:
        assert vault.rollback(conn, "openai").version == 1
    assert reveal(vault) == SECRET
    assert vault.reveal_other("openai", OPENAI).value == b"second"
    with pytest.raises(Conflict), records.write() as conn:
        vault.rollback(conn, "openai")  # there is nothing before the first
    assert put(records, vault, value=b"third").version == 3
    assert [v.version for v in vault.versions("openai")] == [1, 2, 3]
    clock.advance(3600)
    assert [v.version for v in vault.versions("openai")] == [3]
    with pytest.raises(NotFound), records.write() as conn:
        vault.rollback(conn, "never-put")


def test_an_old_sealed_version_put_into_the_current_row_does_not_open(records, vault, elsewhere):
    put(records, vault)
    put(records, vault, value=b"second")
    with records.write() as conn:
        former = "SELECT sealed FROM secret_versions WHERE version = 1"
        conn.execute(text(f"UPDATE secret_versions SET sealed = ({former}) WHERE version = 2"))
    with pytest.raises(SealBroken):
        elsewhere.reveal("openai", OPENAI)


def test_versions_put_at_once_have_each_a_number(records, vault, elsewhere):
    start = Barrier(4)

    def one(number):
        start.wait()
        return put(records, (vault, elsewhere)[number % 2], value=f"value {number}".encode()).version

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(one, range(4))) == [1, 2, 3, 4]
    elsewhere.refresh()
    assert [v.state for v in elsewhere.versions("openai")] == ["former"] * 3 + ["current"]


def test_deleting_forgets_all_versions(records, vault):
    put(records, vault)
    put(records, vault, value=b"second")
    with records.write() as conn:
        vault.delete(conn, "openai")
    assert rows(records) == []
    with pytest.raises(NotFound):
        vault.versions("openai")


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.sampled_from([0, 60, 3600])),
            st.tuples(st.just("wait"), st.integers(-5000, 5000)),
            st.tuples(st.just("rollback"), st.just(0)),
        ),
        max_size=12,
    )
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_one_in_use_is_the_newest_put_or_what_was_gone_back_to(records, vault, clock, steps):
    """Whatever is done: one version is current, numbers only grow, and nothing past its time is readable."""
    current, puts = None, 0
    with records.write() as conn:
        if "openai" in {s.name for s in vault.list()}:
            vault.delete(conn, "openai")
    for step, number in steps:
        if step == "wait":
            clock.advance(number)
        elif step == "put":
            puts += 1
            current = put(records, vault, value=b"%d" % puts, overlap_seconds=number).version
            assert current == puts
        else:
            try:
                with records.write() as conn:
                    current = vault.rollback(conn, "openai").version
            except (Conflict, NotFound):
                pass
        if current is not None:
            assert reveal(vault) == b"%d" % current
            other = vault.reveal_other("openai", OPENAI)
            readable = [v.version for v in vault.versions("openai") if v.state == "former"]
            assert (other.version if other else None) == (max(readable) if readable else None)


# Leases.


def test_a_lease_lasts_a_minute_and_never_beyond_its_version(records, vault, clock):
    put(records, vault)
    now = clock.now().timestamp()
    assert vault.reveal("openai", OPENAI) == Lease(SECRET, 1, now + 60)
    put(records, vault, value=b"second", overlap_seconds=20)
    assert vault.reveal_other("openai", OPENAI).until == now + 20


def test_who_had_a_version_last_is_written_down(records, vault, clock):
    put(records, vault, consumers=[OPENAI, "provider:b"])
    vault.reveal("openai", "provider:b")
    clock.advance(60)
    vault.reveal("openai", OPENAI)
    assert vault.list()[0].last_used_at is None
    vault.flush_uses()
    put(records, vault, value=b"second", consumers=None)
    (listed,) = vault.list()
    assert (listed.last_used_by, listed.last_used_at[11:19], listed.version) == (OPENAI, "03:05:05", 2)
    assert [v.last_used_by for v in vault.versions("openai")] == [OPENAI, None]
    vault.flush_uses()


def test_no_representation_holds_a_value(records, vault):
    put(records, vault)
    lease = vault.reveal("openai", OPENAI)
    assert "very-secret" not in f"{lease!r} {vault!r} {vars(vault)!r} {vault.versions('openai')!r} {vault.list()!r}"

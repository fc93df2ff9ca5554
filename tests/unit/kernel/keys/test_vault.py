import pytest
from sqlalchemy import text

from vallum.kernel.errors import Invalid, NotFound
from vallum.kernel.keys import DEFAULT_TENANT, EPOCH, KeyDestroyed, Purpose, SealBroken, Vault
from vallum.kernel.store.epochs import EpochWatch

SECRET = b"sk-a-very-secret-value"


def put(records, vault, name="openai", value=SECRET):
    with records.write() as conn:
        vault.put(conn, name, value)


@pytest.fixture
def elsewhere(records, other_process, clock):
    return Vault(records, other_process, clock)


def test_a_secret_is_revealed_in_every_process(records, vault, elsewhere):
    put(records, vault)
    assert vault.reveal("openai") == elsewhere.reveal("openai") == SECRET


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
        assert SECRET not in bytes(conn.execute(text("SELECT sealed FROM secrets")).scalar_one())


def test_a_replaced_secret_is_seen_here_at_once_and_elsewhere_after_a_refresh(records, vault, elsewhere):
    watch = EpochWatch(records)
    watch.subscribe(EPOCH, elsewhere.refresh)
    put(records, vault)
    elsewhere.reveal("openai")
    watch.poll_once()
    put(records, vault, value=b"another")
    assert vault.reveal("openai") == b"another"
    watch.poll_once()
    assert elsewhere.reveal("openai") == b"another"


def test_a_deleted_secret_is_gone(records, vault, elsewhere):
    put(records, vault)
    elsewhere.reveal("openai")
    with records.write() as conn:
        vault.delete(conn, "openai")
    elsewhere.refresh()
    for one in (vault, elsewhere):
        with pytest.raises(NotFound):
            one.reveal("openai")
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
    assert vault.reveal("openai") == SECRET


@pytest.mark.parametrize("name", ["", "OpenAI", ".hidden", "a b", "a\n", "a\x00", "é", "../x", "a" * 129, "'; DROP"])
def test_a_bad_name_is_refused_and_never_found(records, vault, name):
    with pytest.raises(Invalid):
        put(records, vault, name)
    with pytest.raises(NotFound):
        vault.reveal(name)


@pytest.mark.parametrize("size", [0, 64 * 1024 + 1])
def test_a_value_of_a_bad_size_is_refused_without_being_quoted(records, vault, size):
    with pytest.raises(Invalid) as refused:
        put(records, vault, value=b"s" * size)
    assert "sss" not in str(refused.value)


def test_the_largest_value_fits(records, vault):
    put(records, vault, value=b"s" * 64 * 1024)
    assert len(vault.reveal("openai")) == 64 * 1024


def test_a_secret_moved_to_another_name_is_refused(records, vault):
    put(records, vault, "weak")
    with records.write() as conn:
        conn.execute(text("UPDATE secrets SET name = 'strong'"))
    with pytest.raises(SealBroken):
        vault.reveal("strong")


def test_destroying_the_key_destroys_the_secrets(records, vault, keyring, elsewhere):
    put(records, vault)
    with records.write() as conn:
        keyring.destroy(conn, DEFAULT_TENANT, Purpose.SECRETS)
    for one in (vault, elsewhere):
        with pytest.raises(KeyDestroyed):
            one.reveal("openai")
    put(records, vault, value=b"anew")
    elsewhere.refresh()
    assert elsewhere.reveal("openai") == b"anew"

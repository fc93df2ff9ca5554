"""What an earlier release kept goes on being there after an upgrade."""

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from vallum.kernel.clock import SystemClock
from vallum.kernel.keys import DEFAULT_TENANT, FileRoot, Keyring, Purpose, Vault
from vallum.kernel.store import schema
from vallum.kernel.store.records import Records
from vallum.kernel.store.schema import check_schema, migrate


@pytest.fixture
def records(empty_records):
    return empty_records


@pytest.fixture
def upgrade_to(records):
    def upgrade(revision):
        with records.write() as conn:
            config = Config()
            config.set_main_option("script_location", str(schema._FOLDER))
            config.attributes["connection"] = conn
            command.upgrade(config, revision)

    return upgrade


def test_secrets_and_keys_of_before_there_were_versions(records, upgrade_to, tmp_path):
    root, clock, at = FileRoot.create(tmp_path / "root.key", None), SystemClock(), "2026-01-01T00:00:00.000000Z"
    elsewhere = Records(f"sqlite:///{tmp_path / 'elsewhere.db'}")
    migrate(elsewhere)
    keyring = Keyring(elsewhere, root, clock)
    sealed = keyring.seal(DEFAULT_TENANT, Purpose.SECRETS, b"a value", b"secrets\x00sealed\x00old")
    with elsewhere.read() as conn:
        wrapped = bytes(conn.execute(text("SELECT wrapped FROM keyset_versions")).scalar_one())
    elsewhere.close()

    upgrade_to("0003_workloads")
    with records.write() as conn:
        key = "INSERT INTO keyset_versions VALUES ('default', 'secrets', 1, :wrapped, 'file', :at, NULL)"
        conn.execute(text(key), {"wrapped": wrapped, "at": at})
        conn.execute(text("INSERT INTO secrets VALUES ('old', :sealed, :at, :at)"), {"sealed": sealed, "at": at})
    upgrade_to("head")
    check_schema(records)

    vault = Vault(records, Keyring(records, root, clock), clock)
    assert vault.reveal("old", "provider:whoever").value == b"a value"
    (listed,) = vault.list()
    assert (listed.version, listed.consumers, listed.updated_at) == (1, ("any",), at)
    with records.write() as conn:
        assert vault.put(conn, "old", b"another", consumers=["provider:a"]).version == 2
    assert vault.reveal_other("old", "provider:a").value == b"a value"

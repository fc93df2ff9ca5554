"""The migrations make exactly the tables that the code declares, on both databases."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import vallum.compose  # noqa: F401  brings in every table
from vallum.kernel.store.records import Records, metadata
from vallum.kernel.store.schema import SchemaBehind, check_schema, migrate


@pytest.fixture
def records(empty_records):
    return empty_records


def test_the_migrations_make_what_the_code_declares(records):
    migrate(records)
    with records.engine.connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "version_table": "schema_version"})
        assert compare_metadata(context, metadata) == []
    check_schema(records)


def test_migrating_again_changes_nothing(records):
    migrate(records)
    migrate(records)
    check_schema(records)


def test_several_at_once_do_not_trip_over_each_other(records_url):
    failures = []

    def one():
        opened = Records(records_url, pool_size=1)
        try:
            migrate(opened)
            check_schema(opened)
        except Exception as e:
            failures.append(e)
        finally:
            opened.close()

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_empty_database_is_refused_with_what_to_do(records):
    with pytest.raises(SchemaBehind, match="vallum migrate"):
        check_schema(records)


def test_a_database_of_another_release_is_refused(records):
    migrate(records)
    with records.write() as conn:
        conn.exec_driver_sql("UPDATE schema_version SET version_num = '9999_future'")
    with pytest.raises(SchemaBehind, match="9999_future"):
        check_schema(records)

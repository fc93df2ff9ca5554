"""Alembic's entry: it runs in the connection that `migrate` gives it."""

from alembic import context

from vallum.kernel.store.records import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="schema_version",
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()

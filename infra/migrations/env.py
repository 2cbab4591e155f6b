"""Alembic's entry: runs the versions on the connection, and in the transaction, that `upgrade` opened."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite can do it too, once the driver is kept from committing before each DDL statement.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

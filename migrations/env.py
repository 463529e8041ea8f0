"""Alembic's environment: our tables, our version table, nothing of the host's."""

from typing import Any

from alembic import context
from sqlalchemy import Connection, NullPool, create_engine

from flask_llm.usage.models import VERSION_TABLE, include_name, metadata

OPTIONS: dict[str, Any] = {
    "target_metadata": metadata,
    "version_table": VERSION_TABLE,
    "include_name": include_name,
    "compare_type": True,
}


def run_offline() -> None:
    """Write the statements out instead of running them."""
    context.configure(
        dialect_name=context.config.attributes.get("dialect"),
        url=context.config.get_main_option("sqlalchemy.url"),
        literal_binds=True,
        **OPTIONS,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Run on the connection that is given, or on one of our own for ``alembic -c``."""
    given = context.config.attributes.get("connection")
    if given is not None:
        _run(given)
        return
    url = context.config.get_main_option("sqlalchemy.url") or ""
    with create_engine(url, poolclass=NullPool).connect() as connection:
        _run(connection)
        connection.commit()


def _run(connection: Connection) -> None:
    batch = connection.dialect.name == "sqlite"
    context.configure(connection=connection, render_as_batch=batch, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()

"""Words of one database alone, loaded where that one is used.

The dialects of all databases take longer to load than the rest of SQLAlchemy that is
needed here, drivers for ``asyncio`` that nobody has installed included.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any


@functools.cache
def insert_for(dialect: str) -> Any:
    """Return the ``insert`` of a dialect, which knows what to do with a row's twin.

    :param dialect: its name, as in ``connection.dialect.name``.
    """
    name = "mysql" if dialect == "mariadb" else dialect
    return importlib.import_module(f"sqlalchemy.dialects.{name}").insert


def is_mysql(dialect: str) -> bool:
    """Tell whether it is MySQL or MariaDB, who have words of their own for it."""
    return dialect in {"mysql", "mariadb"}

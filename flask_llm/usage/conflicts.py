"""Transactions that are in each other's way."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

TRIES = 5
"""How often such a transaction is begun."""

_GIVEN_UP = {"40001", "40P01", 1020, 1213}
"""Serialization failures and deadlocks: SQLSTATE, and numbers of MySQL and MariaDB."""


def is_given_up(error: DBAPIError) -> bool:
    """Tell whether the same transaction may do the next time."""
    return bool(_GIVEN_UP & _codes(error))


def is_locked(error: object) -> bool:
    """Tell of a driver's error whether SQLite found its file locked."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")


def described(error: Exception) -> str:
    """Name an error without its words, which may quote a row or an address."""
    name = type(error).__name__
    if is_locked(getattr(error, "orig", None)):
        return f"{name}: the SQLite file is locked; did this request flush changes?"
    return name


def _codes(error: DBAPIError) -> set[object]:
    """Return the codes that a driver gives an error, each driver its own way."""
    names = ("sqlstate", "pgcode")
    codes = {getattr(error.orig, name, None) for name in names}
    arguments = getattr(error.orig, "args", ())
    return codes | {code for code in arguments[:1] if isinstance(code, int)}

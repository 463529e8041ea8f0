"""Whether rows, budgets and hourly sums agree."""

from sqlalchemy import func, select

from flask_llm.usage.models import hourly, spend, usage


def errors_of(database):
    """Return in what the sums, the budgets and the rows differ: nothing at best."""
    with database.begin() as connection:
        rows = connection.execute(select(usage)).all()
        spent, reserved = _sums(connection, spend, "spent_nanos", "reserved_nanos")
        calls, counted = _sums(
            connection, hourly, "calls", "cost_nanos", dimension="status", hours=1
        )
    settled = [row for row in rows if row.status != "pending"]
    budgeted = [row for row in settled if row.reserved_in]
    pairs = {
        "spent": (spent, _total(budgeted, "cost_nanos")),
        "reserved": (
            reserved,
            _total([row for row in rows if row not in settled], "reserved_nanos"),
        ),
        "calls of the hour": (calls, len(settled)),
        "cost of the hour": (counted, _total(settled, "cost_nanos")),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _total(rows, name):
    return sum(getattr(row, name) or 0 for row in rows)


def _sums(connection, table, *names, **where):
    sums = select(*(func.coalesce(func.sum(table.c[name]), 0) for name in names))
    for name, value in where.items():
        sums = sums.where(table.c[name] == value)
    return [int(value) for value in connection.execute(sums).one()]

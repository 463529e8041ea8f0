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
    pending = [row for row in rows if row.status == "pending"]
    pairs = {
        "spent": (spent, _in_budgets(settled, "cost_nanos")),
        "reserved": (reserved, _in_budgets(pending, "reserved_nanos")),
        "calls of the hour": (calls, len(settled)),
        "cost of the hour": (counted, sum(row.cost_nanos or 0 for row in settled)),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _in_budgets(rows, name):
    """Add up what stands in all budgets: each row counts once for each of its own."""
    return sum(
        len(row.reserved_in.split()) * (getattr(row, name) or 0)
        for row in rows
        if row.reserved_in
    )


def _sums(connection, table, *names, **where):
    sums = select(*(func.coalesce(func.sum(table.c[name]), 0) for name in names))
    for name, value in where.items():
        sums = sums.where(table.c[name] == value)
    return [int(value) for value in connection.execute(sums).one()]

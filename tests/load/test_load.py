"""Half a minute of 200 users on a PostgreSQL and a Redis of their own."""

import importlib.util

import pytest

from load import report
from load.checks import problems
from load.run import Terms, run

# Looked for, not loaded: locust patches the process that does.
HAS_LOCUST = importlib.util.find_spec("locust") is not None


@pytest.mark.skipif(not HAS_LOCUST, reason="locust is not installed: the extra load")
@pytest.mark.parametrize("database_uri", ["postgres"], indirect=True)
def test_under_load_no_call_is_lost_no_budget_passed_and_nothing_grows(
    database_uri, redis_url, tmp_path
):
    terms = Terms(
        users=200, seconds=30, warm_up_seconds=10, uri=database_uri, redis=redis_url
    )

    found = run(terms, tmp_path)

    print(report.table(found))  # for whoever looks into a failure
    assert problems(found) == []

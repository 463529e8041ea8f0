"""Users who ask, look at the answer for a moment, and ask again.

    locust -f tests/load/locustfile.py --host http://127.0.0.1:8000

``run.py`` starts this with all that it needs. Every request becomes a line of the file
that ``LOAD_ASKED`` names: when it was answered, what it was, how it ended, how long it
took.
"""

import itertools
import json
import os
import time

from locust import FastHttpUser, between, events, task

TENANTS = ("poor-1", "poor-2", *(f"tenant-{number}" for number in range(8)))
"""A tenth of the users belongs to each."""

numbers = itertools.count()

asked = os.open(
    os.environ.get("LOAD_ASKED", os.devnull), os.O_CREAT | os.O_APPEND | os.O_WRONLY
)


class Visitor(FastHttpUser):
    """One user, with a name of their own."""

    wait_time = between(0.5, 1.5)
    network_timeout = connection_timeout = 120

    def on_start(self):
        number = next(numbers)
        tenant = TENANTS[number % len(TENANTS)]
        self.headers = {"X-User": f"user-{number}", "X-Tenant": tenant}

    @task
    def whole(self):
        self._ask("/whole")

    @task
    def stream(self):
        self._ask("/stream")

    def _ask(self, path):
        question = {"text": f"What did {self.headers['X-User']} ask, and why?"}
        with self.client.post(
            path, json=question, headers=self.headers, catch_response=True
        ) as response:
            outcome = outcome_of(response)
            if outcome == "200":
                response.success()
            else:
                response.failure(outcome)


def outcome_of(response):
    """Return the status, or how a stream went wrong after it."""
    text = response.text or ""
    if response.status_code != 200 or "event: delta" not in text:
        return str(response.status_code)
    return "200" if "event: done" in text else "broken"


@events.request.add_listener
def note(name, response_time, response, exception, **_):
    """Write down how a request fared."""
    outcome = str(exception) if exception else "200"
    line = {"at": time.time(), "what": name, "ms": response_time, "outcome": outcome}
    os.write(asked, json.dumps(line).encode() + b"\n")

"""What befalls requests to the emulator that nobody has scripted."""

import random
from collections import Counter

import pytest
from flask import Flask

from flask_llm.emulator import Answer, Emulator, Fault
from flask_llm.emulator.weather import FAULTS, Weather


@pytest.fixture
def make_client():
    """Make an emulator with a weather; return its client, and what it sleeps."""

    def make(**weather):
        naps = []
        emulator = Emulator(sleep=naps.append, **weather)
        app = Flask("weather")
        app.register_blueprint(emulator.blueprint)
        return emulator, app.test_client(), naps

    return make


def ask(client):
    body = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Hi"}]}
    return client.post("/v1/chat/completions", json=body)


def test_fine_weather_changes_nothing(make_client):
    _, client, naps = make_client()

    assert ask(client).status_code == 200
    assert naps == []


@pytest.mark.parametrize(("chance", "seconds"), [(0, 0.3), (0.5, 1.65), (1, 3)])
def test_latency_is_spread_between_its_ends(make_client, chance, seconds):
    _, client, naps = make_client(latency_seconds=(0.3, 3), chance=lambda: chance)

    assert ask(client).status_code == 200
    assert sum(naps) == pytest.approx(seconds)


def test_as_many_fail_as_the_share_says_and_each_way():
    weather = Weather(fault_share=0.05, chance=random.Random(5).random)
    met = [weather.fault() for _ in range(10_000)]

    counts = Counter(FAULTS.index(one) for one in met if one != Fault())

    assert 400 < sum(counts.values()) < 600
    assert sorted(counts) == list(range(len(FAULTS)))
    assert min(counts.values()) > 50


def test_what_is_scripted_is_left_alone(make_client):
    emulator, client, naps = make_client(
        fault_share=1, latency_seconds=(1, 1), chance=lambda: 0.0
    )
    emulator.script(Answer(text="As told."))

    scripted, other = ask(client), ask(client)

    assert (scripted.status_code, other.status_code) == (200, 429)
    assert sum(naps) == pytest.approx(1)


def test_chance_of_exactly_one_is_a_fault_like_others():
    assert Weather(fault_share=1, chance=iter([0, 1, 1]).__next__).fault() == FAULTS[-1]


@pytest.mark.parametrize(
    "weather",
    [
        {"latency_seconds": (-1, 1)},
        {"latency_seconds": (2, 1)},
        {"fault_share": 1.1},
        {"fault_share": -0.1},
    ],
)
def test_weather_that_cannot_be_is_refused(weather):
    with pytest.raises(ValueError, match=r"from 0 to 1|least, then most"):
        Emulator(**weather)

"""Apps over databases that a test may stop, lock or fill."""

from uuid import uuid4

import pytest

import flask_llm


@pytest.fixture
def open_house(make_app, emulator):
    """Make an app over a database; its first call has been made and is forgotten."""

    def make(uri, **config):
        app = make_app(LLM_DATABASE_URI=uri, LLM_AUTO_MIGRATE=True, **config)
        with app.app_context():
            flask_llm.complete("Warm up.")
        emulator.reset()
        return app

    return make


@pytest.fixture
def file(tmp_path):
    return tmp_path / "house.sqlite"


@pytest.fixture
def crashing(postgres, open_house):
    """Make an app over a database of the PostgreSQL that is to be stopped."""

    def make(**config):
        return open_house(postgres.create(f"house_{uuid4().hex}"), **config)

    return make

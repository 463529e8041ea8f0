"""A real browser, and an app with a month of calls for it to look at."""

import os
from datetime import UTC, datetime
from pathlib import Path

import month
import pytest
from flask import Flask

from flask_llm import llm_bp
from flask_llm.emulator import serve

CHROMIUM = "/usr/bin/chromium"

SIZES = {
    "phone": {"width": 390, "height": 844},
    "desktop": {"width": 1200, "height": 900},
}


def absent(what, cure):
    """Skip for want of something; where a browser is promised, that is a failure."""
    reason = f"{what} is not installed: {cure}"
    if os.environ.get("LLM_TEST_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium."""
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        absent("playwright", "pip install -e '.[browser]'")
    if not Path(CHROMIUM).exists():
        absent("chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        # Chromium's sandbox wants more rights than a container has.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screens(tmp_path_factory):
    """The directory that screens are kept in: ``LLM_TEST_SCREENS``, or a temporary."""
    named = os.environ.get("LLM_TEST_SCREENS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screens")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """The dashboard of a busy app on a real socket."""
    app = Flask("busy", instance_path=str(tmp_path_factory.mktemp("busy")))
    app.config.update(LLM_REPORTS_TOKEN="letmein", LLM_BUDGETS=month.BUDGETS)
    app.register_blueprint(llm_bp)
    state = app.extensions["llm"]
    state.database.prepare()
    now = datetime.now(UTC)
    month.fill(state.database, now)
    month.spend_some(state.database, now)
    with serve(app) as url:
        yield f"{url}/llm/dashboard"
    state.close()


@pytest.fixture
def open_page(browser):
    """Open pages that must not complain: about scripts, policies or missing files."""
    contexts, complaints = [], []

    def complain(kind):
        return lambda what: complaints.append((kind, getattr(what, "text", str(what))))

    def lost(request):
        # A page that is left while its icon is on the way.
        if request.failure != "net::ERR_ABORTED":
            complaints.append(("lost", f"{request.failure} {request.url}"))

    def failed(response):
        if response.status >= 400:
            complaints.append(("status", f"{response.status} {response.url}"))

    def make(size="desktop", **options):
        context = browser.new_context(
            viewport=SIZES[size],
            http_credentials={"username": "me", "password": "letmein"},
            **options,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", complain("console"))
        page.on("pageerror", complain("error"))
        page.on("requestfailed", lost)
        page.on("response", failed)
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []

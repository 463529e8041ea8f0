"""The demo app after a call: what a server preloads may have connections already."""

import flask_llm
from demo_app import create_app as create_demo


def create_app():
    """Make the demo, and have it ask before it is forked."""
    app = create_demo()
    with app.app_context():
        flask_llm.complete("Warm up.", feature="before the fork")
    return app

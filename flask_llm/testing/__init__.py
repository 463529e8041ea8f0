"""For the tests of apps: scripted models in the place of the network.

Needs the extra: ``pip install 'flask-llm[testing]'``.
"""

from flask_llm.emulator import Answer, Fault
from flask_llm.testing.calls import Call
from flask_llm.testing.fake import (
    FakeLLM,
    NetworkBlocked,
    ScriptLeftWarning,
    Unscripted,
)
from flask_llm.testing.setting import SETTINGS, fake_keys

__all__ = [
    "SETTINGS",
    "Answer",
    "Call",
    "FakeLLM",
    "Fault",
    "NetworkBlocked",
    "ScriptLeftWarning",
    "Unscripted",
    "fake_keys",
]

"""Each provider's line: so many at a time, so far apart, so much in a minute."""

from flask_llm.guards.pacing.line import GRACE_SECONDS
from flask_llm.guards.pacing.pacing import Pacing, Slot

__all__ = ["GRACE_SECONDS", "Pacing", "Slot"]

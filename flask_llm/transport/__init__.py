"""The only network code: one pooled session per process, one deadline over every byte.

What ``requests`` would do otherwise, and what is done instead: its timeout is per
read, so a body that trickles never trips it (the deadline is set before each read); a
``.netrc`` entry replaces our key (``trust_env`` is off, proxies and CA bundle are taken
from the environment once); a redirect carries ``x-api-key`` to the next host (none is
followed); its errors hold the request with its headers (they are stripped).

What strangers' URLs lead to is fetched beside all that, through a guard (``fetch``).
"""

from flask_llm.transport.body import EventStream
from flask_llm.transport.fetch import BYTES_MAX, Fetcher
from flask_llm.transport.sender import Transport

__all__ = ["BYTES_MAX", "EventStream", "Fetcher", "Transport"]

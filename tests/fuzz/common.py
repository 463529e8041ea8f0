"""What several targets need: samples, JSON, and what becomes of an answer."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path

from flask_llm.chat import Message, Prompt, read_messages
from flask_llm.errors import InvalidRequestError
from flask_llm.protocols import PROTOCOLS
from flask_llm.providers.table import BUILT_IN
from flask_llm.transport.session import prepare

WIRE = Path(__file__).parents[1] / "wire"

PROVIDERS = [row for row in BUILT_IN if row.name in ("anthropic", "google", "groq")]
PROVIDERS += [replace(row, protocol="responses") for row in PROVIDERS[-1:]]
"""One for each wire format."""


def samples(pattern):
    """Return recorded answers of every protocol."""
    return [path.read_bytes() for path in sorted(WIRE.glob(f"*/{pattern}"))]


def seeds(*values):
    """Write values as JSON."""
    return [json.dumps(value).encode() for value in values]


def load(data):
    """Read JSON; None where it is none, or too deep."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def pairs(data):
    """Read a query string's names and values from lines."""
    lines = data.decode("utf-8", "replace").split("\n")
    return [line.partition("=")[::2] for line in lines]


def go_on_from(answer):
    """See that an answer can be shown, kept, and sent back in every wire format."""
    turn = json.loads(json.dumps([answer.to_dict(), answer.to_message().to_dict()]))[1]
    send_back(Message.from_dict(turn))


def send_back(*messages, **options):
    """See that messages can be sent in every wire format, or are refused by name."""
    for provider in PROVIDERS:
        with contextlib.suppress(InvalidRequestError):
            prompt = Prompt(
                provider=provider.name,
                model="m",
                messages=read_messages(list(messages)),
                **options,
            )
            call = PROTOCOLS[provider.protocol].render(prompt, provider, stream=False)
            sent = prepare(call, provider).request
            assert sent.url.startswith(f"{provider.base_url}/"), sent.url

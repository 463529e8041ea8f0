"""Histories with tools and reasoning: from each provider to each other, and recorded.

What leaves is held against the types of the official SDKs, and has to be taken by the
emulator, which refuses what the providers do.
"""

import json
import os
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from oracles import known

import flask_llm
from flask_llm import Message, Tool, ToolResult
from flask_llm.chat import Prompt
from flask_llm.emulator import Answer
from flask_llm.protocols import PROTOCOLS
from flask_llm.protocols.generate_content import UNSIGNED
from flask_llm.providers import BUILT_IN
from flask_llm.wire import EventReader

SPEAKERS = {
    "responses": "openai/gpt-6-luna",
    "chat": "azure/gpt-4.1",
    "anthropic": "anthropic/claude-opus-5-5",
    "google": "google/gemini-3.8-flash",
    "compatible": "deepseek/deepseek-reasoner",
}
FORMATS = {
    "responses": "responses",
    "chat": "chat_completions",
    "anthropic": "anthropic_messages",
    "google": "generate_content",
    "compatible": "chat_completions",
}
IDS = {"google": None, "compatible": "functions.weather:0"}
"""Ids that calls of a provider may have: none, or the same in each answer."""

SECRETS = ("RW11bGF0b3I=", "gAAAAAB-", "Thought of")
"""Signatures, encrypted reasoning, and reasoning itself."""

WEATHER = Tool(
    "weather",
    "Current weather",
    {"type": "object", "properties": {"city": {"type": "string"}}},
)


@pytest.fixture
def app(make_app, provider_rows):
    url = provider_rows["openai"]["base_url"]
    provider_rows["openai"] |= {"protocol": "responses"}
    others = {name: {"base_url": url, "api_key": "k"} for name in ("azure", "deepseek")}
    app = make_app(LLM_PROVIDERS=provider_rows | others)
    app.extensions["llm"].database.prepare()
    with app.app_context():
        yield app


def script(speaker):
    """Return three rounds: two calls at once, one more, and the answer."""
    ident = {"id": IDS[speaker]} if speaker in IDS else {}
    cities = ["Oslo", "Rome", "Bern"]
    calls = [
        {"name": "weather", "arguments": {"city": city}} | ident for city in cities
    ]
    if speaker == "compatible":
        calls[1] |= {"id": "functions.weather:1"}
    thought = f"Thought of {speaker}."
    if speaker == "chat":
        thought = ""
    return [
        Answer(text="Let me look.", reasoning=thought, tool_calls=calls[:2]),
        Answer(reasoning=thought, tool_calls=calls[2:]),
        Answer(text=f"Said by {speaker}.", reasoning=thought),
    ]


def three_rounds(emulator, speaker, history):
    """Let one provider answer with two rounds of tools; return the longer history."""
    emulator.script(*script(speaker))
    options = {} if speaker == "chat" else {"reasoning": "low"}
    for _ in range(3):
        answer = flask_llm.complete(
            history, model=SPEAKERS[speaker], tools=[WEATHER], **options
        )
        kept = json.loads(json.dumps(answer.to_message().to_dict()))
        history = [*history, Message.from_dict(kept)]
        results = [
            ToolResult(call.id, json.dumps({"in": call.arguments["city"]}), call.name)
            for call in answer.tool_calls
        ]
        history += [Message("tool", results)] if results else []
    assert answer.text == f"Said by {speaker}."
    return history


# --- From each to each ---------------------------------------------------------------


@pytest.mark.parametrize(("first", "then"), [*product(SPEAKERS, repeat=2)])
def test_history_crosses_and_is_taken(app, emulator, first, then):
    history = three_rounds(emulator, first, [Message("user", "How is it?")])
    history = three_rounds(emulator, then, [*history, Message("user", "And now?")])
    three_rounds(emulator, first, [*history, Message("user", "Again?")])

    bodies = [arrival.body for arrival in emulator.requests]
    formats = [*[FORMATS[first]] * 3, *[FORMATS[then]] * 3, *[FORMATS[first]] * 3]
    for protocol, body in zip(formats, bodies, strict=True):
        assert known(protocol, unechoed(body)) == unechoed(body)
    asked = cities(FORMATS[then], bodies[5])
    assert asked == ["Oslo", "Rome", "Bern"] * 2
    if first != then:
        before = json.dumps(bodies[3])
        assert [secret for secret in SECRETS if secret in before] == []
        assert before.count(UNSIGNED) == (2 if then == "google" else 0)


def unechoed(body):
    """Leave out what DeepSeek wants back and OpenAI's types do not know."""
    if "messages" not in body:
        return body
    turns = [
        {name: part for name, part in turn.items() if name != "reasoning_content"}
        for turn in body["messages"]
    ]
    return body | {"messages": turns}


def cities(protocol, body):
    """Return what the tools were asked for, as far as the results belong to calls.

    :raises KeyError: where a result belongs to no call.
    """
    asked, answered = {}, []
    for kind, ident, value in ends(protocol, body):
        if kind == "call":
            assert ident not in asked or protocol == "generate_content"
            asked.setdefault(ident, []).append(value["city"])
        else:
            answered.append(asked[ident].pop(0))
            assert value == {"in": answered[-1]}
    return answered


def ends(protocol, body):
    """Yield each call and each result in a request, with its id."""
    turns = body.get("messages") or body.get("contents") or []
    parts = {
        "responses": lambda: body["input"],
        "chat_completions": lambda: [
            part for turn in turns for part in [*turn.get("tool_calls", ()), turn]
        ],
        "anthropic_messages": lambda: [b for turn in turns for b in turn["content"]],
        "generate_content": lambda: [p for turn in turns for p in turn["parts"]],
    }
    return filter(None, map(END[protocol], parts[protocol]()))


def end_in_responses(item):
    match item:
        case {"type": "function_call"}:
            return "call", item["call_id"], json.loads(item["arguments"])
        case {"type": "function_call_output"}:
            return "result", item["call_id"], json.loads(item["output"])


def end_in_chat(part):
    match part:
        case {"function": {"arguments": arguments}}:
            return "call", part["id"], json.loads(arguments)
        case {"role": "tool"}:
            return "result", part["tool_call_id"], json.loads(part["content"])


def end_at_anthropic(block):
    match block:
        case {"type": "tool_use"}:
            return "call", block["id"], block["input"]
        case {"type": "tool_result"}:
            return "result", block["tool_use_id"], json.loads(block["content"])


def end_at_google(part):
    match part:
        case {"functionCall": call}:
            return "call", call.get("id"), call["args"]
        case {"functionResponse": result}:
            return "result", result.get("id"), result["response"]["output"]


END = {
    "responses": end_in_responses,
    "chat_completions": end_in_chat,
    "anthropic_messages": end_at_anthropic,
    "generate_content": end_at_google,
}


# --- Recorded rounds -----------------------------------------------------------------

APIS = {
    "openai.chat_completions": "chat_completions",
    "openai_compatible.chat_completions": "chat_completions",
    "openai.responses": "responses",
    "anthropic.messages": "anthropic_messages",
    "google.generate_content": "generate_content",
}
ROWS = {row.name: row for row in BUILT_IN}
DEFAULT = Path(__file__).parents[2] / "shared" / "recordings" / "dev.jsonl"
FILE = Path(os.environ.get("LLM_TEST_RECORDINGS", DEFAULT))


def conversations():
    """Return the recorded conversations with rounds of tools, by their name."""
    lines = FILE.read_text("utf-8").splitlines() if FILE.is_file() else []
    found = defaultdict(list)
    for line in map(json.loads, lines):
        if line["api"] in APIS and not line["expected"]["error"]:
            found[line["provider"], line["id"].rpartition("#")[0]].append(line)
    return {
        f"{provider}-{name.rpartition('/')[2]}-{len(rounds)}": rounds
        for (provider, name), rounds in found.items()
        if len(rounds) > 1
        and any(line["expected"]["tool_calls"] for line in rounds[:-1])
        and len({(line["api"], model_of(line)) for line in rounds}) == 1
    }


def model_of(line):
    if line["api"].startswith("google"):
        return line["request"]["path"].partition("/models/")[2].partition(":")[0]
    return line["request"]["body"]["model"]


CONVERSATIONS = conversations()
HOSTED = "tool_search_tool_result"
"""A block of Anthropic's that pydantic loses in the SDK's union of blocks."""


@pytest.mark.skipif(
    not CONVERSATIONS, reason=f"no recordings at {FILE}; set LLM_TEST_RECORDINGS"
)
@pytest.mark.parametrize("name", CONVERSATIONS or ["none"])
def test_recorded_rounds_go_back_as_the_provider_took_them(name):
    *rounds, last = CONVERSATIONS[name]
    protocol, history = APIS[last["api"]], [Message("user", "Hi")]
    for line in rounds:
        answer = answered(line)
        history.append(answer.to_message())
        results = [ToolResult(call.id, "4", call.name) for call in answer.tool_calls]
        history.append(Message("tool", results) if results else Message("user", "Hm"))

    body = rendered(last, tuple(history))

    if HOSTED not in json.dumps(body):
        assert known(protocol, unechoed(body)) == unechoed(body)
    came = [part for line in rounds for part in sealed(line["response"]["body"])]
    took = [part for part in sealed(last["request"]["body"]) if part in came]
    assert [part for part in sealed(body) if part in took] == took
    if protocol != "generate_content":
        ours, theirs = ids(protocol, body), ids(protocol, last["request"]["body"])
        assert {*theirs} & {*ids_in(rounds)} <= {*ours}


def answered(line):
    """Read a recorded answer as a call would have returned it."""
    protocol = PROTOCOLS[APIS[line["api"]]]
    body = line["response"]["body"]
    if line["stream"]:
        fold, reader = protocol.fold(), EventReader()
        for event in [*reader.feed(body.encode()), *reader.close()]:
            list(fold.feed(event))
        raw = fold.raw
    else:
        raw = json.loads(body)
    name = line["provider"]
    return replace(protocol.parse(raw), provider=name, model=f"{name}/{model_of(line)}")


def rendered(line, history):
    prompt = Prompt(
        provider=line["provider"], model=model_of(line), messages=history, max_tokens=9
    )
    protocol = APIS[line["api"]]
    row = replace(ROWS[line["provider"]], protocol=protocol)
    return PROTOCOLS[protocol].render(prompt, row, stream=False).body


def sealed(value):
    """Return all that a provider has signed or encrypted, in order."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    if isinstance(value, list):
        return [part for item in value for part in sealed(item)]
    if not isinstance(value, dict):
        return []
    names = ("signature", "encrypted_content", "thoughtSignature", "thought_signature")
    own = [alike(value[name]) for name in names if value.get(name)]
    inner = [
        part
        for item in value.values()
        if isinstance(item, (dict, list))
        for part in sealed(item)
    ]
    return own + inner


def alike(text):
    """Write both kinds of base64 in one way."""
    return text.replace("-", "+").replace("_", "/").rstrip("=")


def ids(protocol, body):
    """Return the ids of the calls in a request."""
    match protocol:
        case "responses":
            items = body["input"] if isinstance(body["input"], list) else []
            return [item["call_id"] for item in items if is_call(item)]
        case "chat_completions":
            turns = body["messages"]
            return [c["id"] for turn in turns for c in turn.get("tool_calls") or ()]
    blocks = [b for turn in body["messages"] for b in turn["content"]]
    return [b["id"] for b in blocks if isinstance(b, dict) and b["type"] == "tool_use"]


def is_call(item):
    return item.get("type") == "function_call"


def ids_in(rounds):
    return [c["id"] for line in rounds for c in line["expected"]["tool_calls"]]

"""The values of a conversation, and the dicts that people write for them."""

import base64
import json
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_llm.chat import (
    Chunk,
    Completion,
    File,
    Image,
    Message,
    Prompt,
    ProviderState,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
    read_messages,
    read_tools,
)
from flask_llm.errors import InvalidRequestError

PNG = b"\x89PNG\r\n\x1a\n0"
PDF = b"%PDF-1.7"
PIXELS = base64.b64encode(PNG).decode()
PNG_URL = f"data:image/png;base64,{PIXELS}"
PDF_URL = "data:application/pdf;base64," + base64.b64encode(PDF).decode()


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Hi", (Message("user", "Hi"),)),
        (Message("user", "Hi"), (Message("user", "Hi"),)),
        ({"role": "user", "content": "Hi"}, (Message("user", "Hi"),)),
        (
            [Message("system", "Be kind."), {"role": "user", "content": ["Hi"]}],
            (Message("system", "Be kind."), Message("user", "Hi")),
        ),
        ([], ()),
    ],
)
def test_prompt_is_a_string_a_message_or_a_list_of_them(prompt, expected):
    assert read_messages(prompt) == expected


@pytest.mark.parametrize("prompt", [None, 5, b"Hi", {"Hi"}, ["Hi"], [None], [5]])
def test_prompt_of_another_kind_is_refused(prompt):
    with pytest.raises(InvalidRequestError):
        read_messages(prompt)


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        (
            {"role": "developer", "content": "Be kind."},
            Message("system", "Be kind."),
        ),
        ({"role": "assistant", "content": None}, Message("assistant", ())),
        (
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            Message("user", "Hi"),
        ),
        (
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": PNG_URL}}],
            },
            Message("user", Image(data=PNG, media_type="image/png")),
        ),
        (
            {
                "role": "user",
                "content": [
                    {
                        "type": "image_url",
                        "image_url": {"url": "https://example.com/a", "detail": "low"},
                    }
                ],
            },
            Message("user", Image(url="https://example.com/a", detail="low")),
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": PNG_URL}]},
            Message("user", Image(data=PNG)),
        ),
        (
            {
                "role": "user",
                "content": [
                    {
                        "type": "file",
                        "file": {"filename": "a.pdf", "file_data": PDF_URL},
                    },
                    {"type": "file", "file": {"file_id": "file_1"}},
                ],
            },
            Message("user", [File(data=PDF, filename="a.pdf"), File(file_id="file_1")]),
        ),
        (
            {"role": "user", "content": [{"type": "image", "data": PIXELS}]},
            Message("user", Image(data=PNG)),
        ),
        (
            {"role": "user", "content": [{"type": "image", "data": PNG}]},
            Message("user", Image(data=PNG)),
        ),
        (
            {
                "role": "assistant",
                "content": "Hm.",
                "tool_calls": [
                    {
                        "id": "a",
                        "type": "function",
                        "function": {"name": "weather", "arguments": '{"c": 1}'},
                    }
                ],
            },
            Message("assistant", ["Hm.", ToolCall("a", "weather", {"c": 1})]),
        ),
        (
            {
                "role": "assistant",
                "tool_calls": [{"id": "a", "name": "weather", "arguments": {"c": 1}}],
            },
            Message("assistant", ToolCall("a", "weather", {"c": 1})),
        ),
        (
            {"role": "assistant", "tool_calls": [ToolCall("a", "weather", {})]},
            Message("assistant", ToolCall("a", "weather", {})),
        ),
        (
            {"role": "tool", "tool_call_id": "a", "content": "4", "name": "weather"},
            Message("tool", ToolResult("a", "4", "weather")),
        ),
        (
            {
                "role": "tool",
                "tool_call_id": "a",
                "content": [{"type": "text", "text": "4"}],
            },
            Message("tool", ToolResult("a", "4")),
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_call_id": "a", "content": "4"}
                ],
            },
            Message("user", ToolResult("a", "4")),
        ),
    ],
)
def test_dicts_of_both_styles_are_read(turn, expected):
    assert Message.from_dict(turn) == expected


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        ({"content": "Hi"}, "'role' is missing"),
        ({"role": "user", "contents": "Hi"}, "Did you mean 'content'"),
        ({"role": "usr", "content": "Hi"}, "Did you mean 'user'"),
        ({"role": ["user"], "content": "Hi"}, "Unknown role"),
        ({"role": "user", "content": 5}, "not int"),
        ({"role": "user", "content": {"type": "text"}}, "not dict"),
        ({"role": "user", "content": [5]}, "not int"),
        ({"role": "user", "content": b"Hi"}, "not"),
        ({"role": "user", "content": [{"type": "txt"}]}, "Did you mean 'text'"),
        ({"role": "user", "content": [{"type": ["x"]}]}, "Unknown content part"),
        ({"role": "user", "content": [{"type": "text"}]}, "'text' is incomplete"),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, "not int"),
        ({"role": "user", "content": [{"type": "image"}]}, "exactly one of"),
        (
            {"role": "user", "content": [{"type": "image", "data": "?"}]},
            "'image' is incomplete",
        ),
        (
            {"role": "user", "content": [{"type": "image", "data": "é"}]},
            "'image' is incomplete",
        ),
        (
            {"role": "user", "content": [{"type": "image", "url": 5}]},
            "url is a string",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": 5}]},
            "'image_url' is incomplete",
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": "x"}]},
            "'file' is incomplete",
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_call_id": "a", "content": {}}
                ],
            },
            "json.dumps",
        ),
        ({"role": "assistant", "tool_calls": [{"id": "a"}]}, "A tool call needs"),
        ({"role": "assistant", "tool_calls": ["a"]}, "A tool call needs"),
        ({"role": "assistant", "tool_calls": 5}, "tool_calls"),
        (
            {"role": "assistant", "tool_calls": [{"id": 5, "name": "a"}]},
            "ToolCall.id",
        ),
        (
            {"role": "assistant", "content": "Hi", "provider_state": {"x": 1}},
            "provider_state",
        ),
    ],
)
def test_bad_message_is_refused_by_name(turn, words):
    with pytest.raises(InvalidRequestError) as caught:
        Message.from_dict(turn)

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (PDF, "application/pdf"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        (b"ID3\x04", "audio/mpeg"),
    ],
)
def test_kind_of_bytes_is_told_from_the_bytes(data, media_type):
    assert File(data=data).media_type == media_type


def test_bytes_of_an_unknown_kind_need_a_word():
    with pytest.raises(InvalidRequestError, match="media_type"):
        Image(data=b"BM")

    assert Image(data=b"BM", media_type="image/bmp").media_type == "image/bmp"


@pytest.mark.parametrize(
    ("url", "media_type"),
    [
        ("https://example.com/a.jpg", "image/jpeg"),
        ("https://example.com/a.pdf?x=1", "application/pdf"),
        ("https://example.com/a", None),
    ],
)
def test_kind_of_a_url_is_told_from_its_ending(url, media_type):
    assert Image(url=url).media_type == media_type


@pytest.mark.parametrize(
    ("url", "data", "media_type"),
    [
        (PNG_URL, PNG, "image/png"),
        ("data:text/plain,a%20b", b"a b", "text/plain"),
        (PNG_URL.replace("data:", "Data:"), PNG, "image/png"),
        (f"data:;base64,{PIXELS}", PNG, "image/png"),
    ],
)
def test_data_url_becomes_bytes(url, data, media_type):
    image = Image(url=url)

    assert (image.url, image.data, image.media_type) == (None, data, media_type)


@pytest.mark.parametrize("url", ["data:image/png;base64,?", "data:image/png"])
def test_data_url_that_is_broken_is_refused(url):
    with pytest.raises(InvalidRequestError, match="data: URL"):
        Image(url=url)


@pytest.mark.parametrize("sources", [{}, {"url": "https://x", "file_id": "f"}])
def test_media_have_exactly_one_source(sources):
    with pytest.raises(InvalidRequestError, match="exactly one"):
        Image(**sources)


@pytest.mark.parametrize(
    "fields",
    [
        {"data": PIXELS},
        {"url": b"https://example.com/"},
        {"file_id": 7},
        {"data": PNG, "media_type": 7},
    ],
)
def test_media_are_of_the_types_that_they_need(fields):
    with pytest.raises(InvalidRequestError, match=r"not (str|bytes|int)"):
        Image(**fields)


def test_file_is_read_from_disk(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(PDF)

    file = File.from_path(path, filename="b.pdf")

    assert (file.data, file.media_type) == (PDF, "application/pdf")
    assert (file.filename, File.from_path(str(path)).filename) == ("b.pdf", "a.pdf")
    assert file.data_url == PDF_URL
    assert "PDF" not in repr(file)


@pytest.mark.parametrize(
    ("name", "data", "given", "media_type"),
    [
        ("a.jpg", PNG, None, "image/png"),
        ("a", PNG, None, "image/png"),
        ("a.txt", b"Hi", None, "text/plain"),
        ("a", b"Hi", "text/markdown", "text/markdown"),
    ],
)
def test_kind_of_a_file_is_told_from_its_bytes_then_from_its_name(
    tmp_path, name, data, given, media_type
):
    (tmp_path / name).write_bytes(data)

    assert File.from_path(tmp_path / name, media_type=given).media_type == media_type


@pytest.mark.parametrize("kind", [File, Image])
def test_path_that_cannot_be_read_is_named(tmp_path, kind):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "unknown").write_bytes(b"Hi")
    with (tmp_path / "large.pdf").open("wb") as large:
        large.truncate(50 * 1024 * 1024 + 1)

    def words(name):
        with pytest.raises(InvalidRequestError) as caught:
            kind.from_path(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        return str(caught.value)

    assert "No such file" in words("missing.pdf")
    assert "is a directory" in words("")
    assert "no ordinary file" in words("pipe")
    assert "null" in words("a\0b")
    assert "media_type" in words("unknown")
    assert "larger than 50 MiB" in words("large.pdf")


def test_what_was_fetched_takes_the_place_of_the_url():
    image = Image(url="https://example.com/a.jpg", detail="low", fetch=True)

    found = image.fetched(PNG)

    assert found == Image(data=PNG, media_type="image/png", detail="low")
    assert not found.fetch


def test_media_of_a_message_are_those_of_its_results_too():
    image, file = Image(data=PNG), File(data=PDF)
    result = ToolResult("a", "Here.", media=[file])

    assert Message("user", ["Hi", image, result]).media == (image, file)
    assert result.media == (file,)


def test_media_of_a_result_are_images_and_files():
    with pytest.raises(InvalidRequestError, match="images and files"):
        ToolResult("a", "Here.", media=(Text("Hi"),))


@pytest.mark.parametrize(
    ("arguments", "expected", "raw", "valid"),
    [
        ('{"a": 1}', {"a": 1}, '{"a": 1}', True),
        ({"a": "é"}, {"a": "é"}, '{"a": "é"}', True),
        ("", {}, "{}", True),
        (" ", {}, " ", True),
        ('{"a": ', {}, '{"a": ', False),
        ("[1]", {}, "[1]", False),
        ([1], {}, "[1]", False),
        (None, {}, "{}", True),
        ("null", {}, "{}", True),
        ('{"a": NaN}', {}, '{"a": NaN}', False),
    ],
)
def test_arguments_are_read_and_kept_to_the_letter(arguments, expected, raw, valid):
    call = ToolCall.from_wire("a", "weather", arguments)

    assert (call.arguments, call.raw_arguments) == (expected, raw)
    assert call.valid is valid


def test_arguments_are_a_dict():
    with pytest.raises(InvalidRequestError, match="not list"):
        ToolCall("a", "weather", [1])


TEXTS = st.text(max_size=8)
OBJECTS = st.dictionaries(TEXTS, TEXTS | st.integers(), max_size=3)
MEDIA = st.lists(
    st.sampled_from([Image(url="https://example.com/a"), File(data=PDF)]), max_size=2
).map(tuple)
PARTS = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(Image, data=st.just(PNG), detail=st.none() | st.just("low")),
    st.builds(File, file_id=TEXTS, media_type=st.just("text/plain")),
    st.builds(ToolCall, TEXTS, TEXTS, OBJECTS),
    st.builds(ToolResult, TEXTS, TEXTS, st.none() | TEXTS, st.booleans(), MEDIA),
)
STATES = st.builds(ProviderState, TEXTS, TEXTS, OBJECTS)


@given(
    message=st.builds(
        Message,
        st.sampled_from(["system", "user", "assistant", "tool"]),
        st.lists(PARTS, max_size=4),
        st.none() | STATES,
    )
)
@settings(deadline=None)
def test_message_survives_json(message):
    stored = json.dumps(message.to_dict())

    assert Message.from_dict(json.loads(stored)) == message


def test_state_is_for_its_own_provider_and_model_only():
    message = Message("assistant", "Hi", ProviderState("google", "gemini", [1]))

    assert message.state_for("google", "gemini") == [1]
    assert message.state_for("google", "gemini-2") is None
    assert message.state_for("anthropic", "gemini") is None


def test_completion_becomes_a_turn_with_its_state():
    call = ToolCall("a", "weather", {})
    completion = Completion(
        content=(Text("Hm"), Text("."), call),
        provider="google",
        model="google/models/gemini",
        provider_state=[1],
    )

    turn = completion.to_message()

    assert (turn.role, turn.text, turn.tool_calls) == ("assistant", "Hm.", (call,))
    assert turn.state_for("google", "models/gemini") == [1]
    assert replace(completion, provider_state=None).to_message().provider_state is None


def test_completion_is_json_with_totals():
    usage = Usage(input_tokens=3, output_tokens=4)

    found = json.loads(json.dumps(Completion(usage=usage).to_dict()))

    assert found["success"] is True
    assert found["usage"]["total_tokens"] == 7
    assert found["cost_usd"] is None


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        (Chunk("a"), {"text": "a"}),
        (Chunk(reasoning="a"), {"reasoning": "a"}),
        (
            Chunk(tool_call=ToolCall("a", "b", {})),
            {"tool_call": ToolCall("a", "b", {}).to_dict()},
        ),
    ],
)
def test_chunk_is_json_of_what_is_set(chunk, expected):
    assert chunk.to_dict() == expected


def ask(**options):
    given = {"provider": "openai", "model": "gpt-4.1", "messages": ()} | options
    return Prompt(**given)


@pytest.mark.parametrize(
    "messages",
    [
        (),
        (Message("user", " "),),
        (Message("system", "Be kind."),),
        (Message("user", ()),),
    ],
)
def test_empty_prompt_is_refused(messages):
    with pytest.raises(InvalidRequestError, match="empty"):
        ask(messages=messages)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("system", 5),
        ("max_tokens", 0),
        ("max_tokens", True),
        ("temperature", 2.1),
        ("temperature", float("nan")),
        ("temperature", "hot"),
        ("top_p", -1),
        ("stop", ("",)),
        ("seed", 1.5),
        ("parallel_tool_calls", 1),
        ("reasoning", "hard"),
        ("service_tier", 1),
        ("extra", [1]),
        ("timeout", 0),
        ("retries", -1),
        ("user", "x" * 129),
        ("tenant", 5),
        ("tags", {"a": 1}),
    ],
)
def test_bad_option_is_refused_by_name(name, value):
    with pytest.raises(InvalidRequestError, match=name) as caught:
        ask(messages=(Message("user", "Hi"),), **{name: value})

    assert caught.value.param == name


def test_tool_choice_is_a_word_or_a_tool_that_is_given():
    hi = (Message("user", "Hi"),)

    assert ask(messages=hi, tools=(Tool("time"),), tool_choice="time").tool_choice
    with pytest.raises(InvalidRequestError, match="Did you mean 'time'"):
        ask(messages=hi, tools=(Tool("time"),), tool_choice="tim")


def test_default_is_no_choice():
    prompt = ask(
        messages=(Message("user", "Hi"),),
        temperature=0.7,
        top_p=0.9,
        defaulted=frozenset({"temperature"}),
    )

    assert (prompt.chosen("temperature"), prompt.chosen("top_p")) == (None, 0.9)
    assert prompt.full_model == "openai/gpt-4.1"


@pytest.mark.parametrize(
    "tool",
    [
        Tool("time", "Tell the time"),
        {"name": "time", "description": "Tell the time"},
        {
            "type": "function",
            "function": {"name": "time", "description": "Tell the time"},
        },
    ],
)
def test_tools_of_both_styles_are_read(tool):
    assert read_tools([tool]) == (Tool("time", "Tell the time"),)
    assert read_tools(None) == ()


@pytest.mark.parametrize("tool", [{}, {"name": 5}, "time", {"function": "time"}])
def test_bad_tool_is_refused(tool):
    with pytest.raises(InvalidRequestError):
        read_tools([tool])


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": 5},
        {"name": "look_up", "parameters": ["city"]},
        {"name": "look_up", "parameters": {"type": object()}},
    ],
)
def test_tool_that_no_provider_could_read_is_refused(fields):
    with pytest.raises(InvalidRequestError, match="tool"):
        Tool(**fields)


@pytest.mark.parametrize("label", ["a\0b", "\ud83d", "x" * 129, 5])
def test_label_that_no_database_keeps_is_refused(label):
    with pytest.raises(InvalidRequestError, match="user: "):
        Prompt(provider="p", model="m", messages=(Message("user", "Hi"),), user=label)


def test_tool_choice_of_another_shape_is_refused():
    choice = {"type": "function", "function": {"name": "look_up"}}

    with pytest.raises(InvalidRequestError, match="tool_choice"):
        Prompt(
            provider="p",
            model="m",
            messages=(Message("user", "Hi"),),
            tools=(Tool("look_up"),),
            tool_choice=choice,
        )

"""The emulator's batches: official SDKs as oracles, raw requests for the faults."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from flask import Flask

from flask_llm.emulator import Answer, BatchCourse, Emulator, Fault, serve

NOW = 1_795_500_000
APIS = ["openai", "anthropic", "google"]
VERSION = {"anthropic-version": "2026-10-21"}

each_api = pytest.mark.parametrize("api", APIS)


@pytest.fixture(scope="module")
def house():
    emulator = Emulator(clock=lambda: NOW)
    app = Flask("house")
    app.register_blueprint(emulator.blueprint, url_prefix="/emulator")
    with serve(app) as address:
        yield emulator, f"{address}/emulator"


@pytest.fixture
def emulator(house):
    emulator, _ = house
    emulator.reset()
    yield emulator
    give_up = time.monotonic() + 2
    while emulator.in_flight and time.monotonic() < give_up:
        time.sleep(0.005)
    assert emulator.in_flight == 0


@pytest.fixture
def url(house, emulator):
    _, address = house
    return address


def oracle(module):
    return pytest.importorskip(module, reason="an official SDK is the oracle here")


@pytest.fixture
def openai_sdk(url):
    openai = oracle("openai")
    options = {"max_retries": 0, "_strict_response_validation": True}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", **options) as client:
        yield client


@pytest.fixture
def anthropic_sdk(url):
    anthropic = oracle("anthropic")
    options = {"max_retries": 0, "_strict_response_validation": True}
    with anthropic.Anthropic(base_url=url, api_key="k", **options) as client:
        yield client


@pytest.fixture(params=["v1", "v1beta"])
def google_sdk(request, url):
    genai = oracle("google.genai")
    options = {"base_url": url, "api_version": request.param}
    with genai.Client(api_key="k", http_options=options) as client:
        yield client


# --- raw requests, the same for all three


BODIES = {
    "openai": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]},
    "anthropic": {
        "model": "claude-haiku-5-5",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "Hi"}],
    },
    "google": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
}
ROOTS = {
    "openai": "/v1/batches",
    "anthropic": "/v1/messages/batches",
    "google": "/v1beta/batches",
}
STATES = {
    "openai": ("status", "in_progress", "cancelling"),
    "anthropic": ("processing_status", "in_progress", "canceling"),
    "google": ("state", "BATCH_STATE_RUNNING", "BATCH_STATE_RUNNING"),
}


def headers_for(api, key="k"):
    return {
        "openai": {"Authorization": f"Bearer {key}"},
        "anthropic": {"x-api-key": key, **VERSION},
        "google": {"x-goog-api-key": key},
    }[api]


def call(api, url, method, path, *, key="k", **options):
    headers = headers_for(api, key)
    return requests.request(
        method, f"{url}{path}", headers=headers, timeout=5, **options
    )


def jsonl(lines):
    return "".join(json.dumps(line) + "\n" for line in lines)


def openai_lines(bodies, endpoint="/v1/chat/completions"):
    return [
        {"custom_id": f"r{place}", "method": "POST", "url": endpoint, "body": body}
        for place, body in enumerate(bodies)
    ]


def upload(url, text, *, key="k", purpose="batch"):
    files, data = {"file": ("in.jsonl", text)}, {"purpose": purpose}
    return call("openai", url, "POST", "/v1/files", key=key, files=files, data=data)


def create_openai(url, lines, *, endpoint="/v1/chat/completions", key="k", **more):
    text = lines if isinstance(lines, str) else jsonl(lines)
    file = upload(url, text, key=key).json()
    order = {
        "input_file_id": file["id"],
        "endpoint": endpoint,
        "completion_window": "24h",
        **more,
    }
    return call("openai", url, "POST", "/v1/batches", key=key, json=order)


def submit(api, url, bodies, *, key="k"):
    """Make a batch with the lines r0, r1, …; returns the raw response."""
    if api == "openai":
        return create_openai(url, openai_lines(bodies), key=key)
    if api == "anthropic":
        items = [
            {"custom_id": f"r{place}", "params": body}
            for place, body in enumerate(bodies)
        ]
        path = "/v1/messages/batches"
        return call(api, url, "POST", path, key=key, json={"requests": items})
    items = [
        {"request": body, "metadata": {"key": f"r{place}"}}
        for place, body in enumerate(bodies)
    ]
    batch = {"displayName": "d", "inputConfig": {"requests": {"requests": items}}}
    path = "/v1beta/models/gemini-3.8-flash:batchGenerateContent"
    return call(api, url, "POST", path, key=key, json={"batch": batch})


def submitted(api, url, count=4):
    """Make a batch of so many equal lines; returns its path."""
    answer = submit(api, url, [BODIES[api]] * count).json()
    return path_of(api, answer)


def path_of(api, batch):
    ident = batch["name" if api == "google" else "id"]
    return f"{ROOTS[api]}/{ident.removeprefix('batches/')}"


def state(api, url, path):
    name, _, _ = STATES[api]
    body = call(api, url, "GET", path).json()
    return (body["metadata"] if api == "google" else body)[name]


def cancel(api, url, path):
    suffix = ":cancel" if api == "google" else "/cancel"
    return call(api, url, "POST", path + suffix)


def outcomes(api, url, path):
    """Fetch what became of each line of a batch that has ended: one word each."""
    body = call(api, url, "GET", path).json()
    if api == "google":
        output = body["metadata"]["output"]["inlinedResponses"]["inlinedResponses"]
        return {
            item["metadata"]["key"]: "ok" if "response" in item else item["error"]
            for item in output
        }
    if api == "anthropic":
        answer = call(api, url, "GET", f"{path}/results")
        items = [json.loads(line) for line in answer.text.splitlines()]
        return {item["custom_id"]: item["result"]["type"] for item in items}
    items = []
    for name in ("output_file_id", "error_file_id"):
        if body[name] is not None:
            answer = call(api, url, "GET", f"/v1/files/{body[name]}/content")
            items += [json.loads(line) for line in answer.text.splitlines()]
    return {
        item["custom_id"]: (item["error"] or {}).get("code", "ok") for item in items
    }


# --- OpenAI


def sdk_batch(openai_sdk, lines, endpoint="/v1/chat/completions", **more):
    file = openai_sdk.files.create(
        file=("in.jsonl", jsonl(lines).encode()), purpose="batch"
    )
    return openai_sdk.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **more
    )


def rows(openai_sdk, file_id):
    text = openai_sdk.files.content(file_id).text
    return [json.loads(line) for line in text.splitlines()]


def test_openai_sdk_uploads_a_file_and_reads_it_back(openai_sdk):
    text = jsonl(openai_lines([BODIES["openai"]])).encode()

    file = openai_sdk.files.create(file=("in.jsonl", text), purpose="batch")

    assert (file.bytes, file.filename, file.purpose) == (len(text), "in.jsonl", "batch")
    assert file.created_at == NOW
    assert openai_sdk.files.retrieve(file.id) == file
    assert openai_sdk.files.content(file.id).content == text
    assert openai_sdk.files.delete(file.id).deleted is True
    with pytest.raises(oracle("openai").NotFoundError, match="No such File object"):
        openai_sdk.files.retrieve(file.id)


def test_openai_sdk_sees_a_batch_through(openai_sdk, emulator):
    emulator.script(Answer(text="one"), Answer(text="two"), Answer(text="three"))
    lines = openai_lines([BODIES["openai"]] * 3)

    made = sdk_batch(openai_sdk, lines, metadata={"job": "42"})
    batch = openai_sdk.batches.retrieve(made.id)

    assert (made.status, made.metadata) == ("validating", {"job": "42"})
    assert made.expires_at == NOW + 86_400
    assert (batch.status, batch.model) == ("completed", "gpt-4o-mini")
    assert batch.request_counts.to_dict() == {"total": 3, "completed": 3, "failed": 0}
    assert batch.error_file_id is None
    answers = rows(openai_sdk, batch.output_file_id)
    texts = {
        row["custom_id"]: row["response"]["body"]["choices"][0]["message"]["content"]
        for row in answers
    }
    assert texts == {"r0": "one", "r1": "two", "r2": "three"}
    assert [row["custom_id"] for row in answers] != ["r0", "r1", "r2"]
    assert {row["response"]["body"]["service_tier"] for row in answers} == {"default"}
    used = [row["response"]["body"]["usage"]["total_tokens"] for row in answers]
    assert batch.usage.total_tokens == sum(used)


def test_openai_answer_in_a_batch_is_the_single_calls(openai_sdk):
    chat = oracle("openai.types.chat")
    single = openai_sdk.chat.completions.create(**BODIES["openai"])

    made = sdk_batch(openai_sdk, openai_lines([BODIES["openai"]]))
    batch = openai_sdk.batches.retrieve(made.id)

    (row,) = rows(openai_sdk, batch.output_file_id)
    answer = chat.ChatCompletion.model_validate(row["response"]["body"])
    assert answer.choices == single.choices
    assert answer.usage == single.usage
    assert answer.id != single.id


def test_openai_batch_of_responses(openai_sdk):
    responses = oracle("openai.types.responses")
    body = {"model": "gpt-6-luna", "input": "Hello"}
    endpoint = "/v1/responses"

    made = sdk_batch(openai_sdk, openai_lines([body], endpoint), endpoint)
    batch = openai_sdk.batches.retrieve(made.id)

    (row,) = rows(openai_sdk, batch.output_file_id)
    answer = responses.Response.model_validate(row["response"]["body"])
    assert "Hello" in answer.output_text
    assert answer.service_tier == "default"
    assert batch.usage.output_tokens_details.reasoning_tokens > 0


def test_openai_batch_of_embeddings(openai_sdk):
    body = {"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 3}
    endpoint = "/v1/embeddings"

    made = sdk_batch(openai_sdk, openai_lines([body], endpoint), endpoint)
    batch = openai_sdk.batches.retrieve(made.id)

    (row,) = rows(openai_sdk, batch.output_file_id)
    single = openai_sdk.embeddings.create(**body, encoding_format="float")
    vectors = [entry["embedding"] for entry in row["response"]["body"]["data"]]
    assert vectors == [entry.embedding for entry in single.data]


def test_openai_batch_goes_through_its_states(openai_sdk, emulator):
    emulator.script(BatchCourse(polls=3))
    made = sdk_batch(openai_sdk, openai_lines([BODIES["openai"]] * 4))

    seen = [openai_sdk.batches.retrieve(made.id) for _ in range(5)]

    states = [batch.status for batch in seen]
    assert states == ["in_progress", "in_progress", "finalizing", *["completed"] * 2]
    assert [batch.request_counts.completed for batch in seen] == [1, 2, 3, 4, 4]
    assert [batch.output_file_id is None for batch in seen] == [
        *[True] * 3,
        False,
        False,
    ]
    assert seen[2].finalizing_at is not None
    assert seen[3] == seen[4]
    assert seen[3].completed_at >= seen[3].in_progress_at >= NOW


def test_openai_line_that_is_refused_is_in_the_error_file(openai_sdk, emulator):
    emulator.script(Answer(text="fine"), Fault(status=429, code="slow_down"))
    hot = {**BODIES["openai"], "temperature": 3}
    lines = openai_lines([hot, BODIES["openai"], BODIES["openai"]])

    made = sdk_batch(openai_sdk, lines)
    batch = openai_sdk.batches.retrieve(made.id)

    assert batch.status == "completed"
    assert batch.request_counts.to_dict() == {"total": 3, "completed": 1, "failed": 2}
    (good,) = rows(openai_sdk, batch.output_file_id)
    bad = {row["custom_id"]: row for row in rows(openai_sdk, batch.error_file_id)}
    assert good["custom_id"] == "r1"
    assert bad["r0"]["response"]["status_code"] == 400
    assert bad["r0"]["response"]["body"]["error"]["param"] == "temperature"
    assert bad["r2"]["response"]["status_code"] == 429
    assert bad["r2"]["response"]["body"]["error"]["code"] == "slow_down"
    assert bad["r0"]["error"] is None


def test_openai_batch_without_a_good_line_has_no_output_file(openai_sdk):
    body = {**BODIES["openai"], "model": "fault-500"}

    made = sdk_batch(openai_sdk, openai_lines([body]))
    batch = openai_sdk.batches.retrieve(made.id)

    assert (batch.status, batch.output_file_id) == ("completed", None)
    (row,) = rows(openai_sdk, batch.error_file_id)
    assert row["response"]["body"]["error"]["type"] == "server_error"


@pytest.mark.parametrize("model", ["hang", "garbage", "reset", "empty", "short-body"])
def test_line_whose_answer_would_not_arrive_is_a_server_error(openai_sdk, model):
    body = {**BODIES["openai"], "model": model}

    made = sdk_batch(openai_sdk, openai_lines([body]))

    batch = openai_sdk.batches.retrieve(made.id)
    (row,) = rows(openai_sdk, batch.error_file_id)
    assert row["response"]["status_code"] == 500


def test_flaky_lines_fail_evenly(openai_sdk):
    lines = openai_lines([{**BODIES["openai"], "model": "flaky-25"}] * 8)

    made = sdk_batch(openai_sdk, lines)

    batch = openai_sdk.batches.retrieve(made.id)
    assert batch.request_counts.to_dict() == {"total": 8, "completed": 6, "failed": 2}


LINE = openai_lines([BODIES["openai"]])[0]
MISTAKES = [
    ("", "empty_file", None),
    ("{not json\n", "invalid_json_line", 1),
    (jsonl([LINE, LINE]), "duplicate_custom_id", 2),
    (jsonl([{**LINE, "method": "GET"}]), "invalid_method", 1),
    (jsonl([{**LINE, "url": "/v1/embeddings"}]), "invalid_url", 1),
    (jsonl([{**LINE, "custom_id": None}]), "missing_required_parameter", 1),
    (jsonl([{**LINE, "custom_id": ["a"]}]), "missing_required_parameter", 1),
    (jsonl([{**LINE, "body": "hello"}]), "missing_required_parameter", 1),
    (
        jsonl([LINE, {**LINE, "custom_id": "b", "body": {"model": "gpt-4.1"}}]),
        "mismatched_model",
        2,
    ),
]


@pytest.mark.parametrize(("text", "code", "line"), MISTAKES)
def test_openai_batch_of_a_file_with_mistakes_fails(openai_sdk, text, code, line):
    file = openai_sdk.files.create(file=("in.jsonl", text.encode()), purpose="batch")
    made = openai_sdk.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
    )

    batch = openai_sdk.batches.retrieve(made.id)

    assert (made.status, batch.status) == ("validating", "failed")
    assert [(error.code, error.line) for error in batch.errors.data] == [(code, line)]
    assert batch.request_counts.total == 0
    assert batch.failed_at == NOW
    assert (batch.output_file_id, batch.error_file_id) == (None, None)


def test_openai_sdk_reads_pages_of_batches(openai_sdk):
    lines = openai_lines([BODIES["openai"]])
    made = [sdk_batch(openai_sdk, lines).id for _ in range(5)]

    first = openai_sdk.batches.list(limit=2)
    everything = [batch.id for batch in openai_sdk.batches.list(limit=2)]
    rest = openai_sdk.batches.list(after=made[1])

    assert [batch.id for batch in first.data] == [made[4], made[3]]
    assert first.has_more is True
    assert everything == made[::-1]
    assert [batch.id for batch in rest.data] == [made[0]]
    assert rest.has_more is False


def test_openai_sdk_cancels_half_way(openai_sdk, emulator):
    emulator.script(BatchCourse(polls=3))
    made = sdk_batch(openai_sdk, openai_lines([BODIES["openai"]] * 4))
    openai_sdk.batches.retrieve(made.id)
    openai_sdk.batches.retrieve(made.id)

    cancelling = openai_sdk.batches.cancel(made.id)
    cancelled = openai_sdk.batches.retrieve(made.id)

    assert (cancelling.status, cancelled.status) == ("cancelling", "cancelled")
    assert cancelling.cancelled_at is None
    assert cancelled.cancelled_at >= cancelled.cancelling_at >= NOW
    assert len(rows(openai_sdk, cancelled.output_file_id)) == 2
    errors = rows(openai_sdk, cancelled.error_file_id)
    assert [row["error"]["code"] for row in errors] == ["batch_cancelled"] * 2


def test_openai_batch_that_has_ended_is_not_cancelled(openai_sdk):
    made = sdk_batch(openai_sdk, openai_lines([BODIES["openai"]]))

    with pytest.raises(oracle("openai").ConflictError, match="'completed'"):
        openai_sdk.batches.cancel(made.id)


BAD_ORDERS = [
    ({"endpoint": "/v1/moderations"}, "endpoint"),
    ({"completion_window": "2h"}, "completion_window"),
    ({"metadata": {"n": 1}}, "metadata"),
    ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
    ({"input_file_id": "file-none"}, "input_file_id"),
    ({"input_file_id": None}, "input_file_id"),
    ({"priority": "high"}, "priority"),
]


@pytest.mark.parametrize(("more", "param"), BAD_ORDERS)
def test_openai_order_with_a_mistake_makes_no_batch(url, more, param):
    refused = create_openai(url, [LINE], **more)

    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param
    assert call("openai", url, "GET", "/v1/batches").json()["data"] == []


@pytest.mark.parametrize(
    ("files", "data", "param"),
    [
        ({}, {"purpose": "batch"}, "file"),
        ({"file": ("a", "b")}, {}, "purpose"),
        ({"file": ("a", "b")}, {"purpose": "poetry"}, "purpose"),
    ],
)
def test_openai_upload_with_a_mistake_is_refused(url, files, data, param):
    refused = call("openai", url, "POST", "/v1/files", files=files, data=data)

    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param


# --- Anthropic


def anthropic_requests(count, **more):
    params = {**BODIES["anthropic"], **more}
    return [{"custom_id": f"r{place}", "params": params} for place in range(count)]


def test_anthropic_sdk_sees_a_batch_through(anthropic_sdk, emulator):
    emulator.script(Answer(text="one"), Answer(text="two"))

    made = anthropic_sdk.messages.batches.create(requests=anthropic_requests(2))
    batch = anthropic_sdk.messages.batches.retrieve(made.id)
    results = list(anthropic_sdk.messages.batches.results(made.id))

    assert (made.processing_status, made.results_url) == ("in_progress", None)
    assert made.request_counts.processing == 2
    assert made.created_at.timestamp() == NOW
    assert (made.expires_at - made.created_at).days == 1
    assert batch.processing_status == "ended"
    assert batch.request_counts.to_dict() == {
        "processing": 0,
        "succeeded": 2,
        "errored": 0,
        "canceled": 0,
        "expired": 0,
    }
    assert batch.ended_at is not None
    texts = {r.custom_id: r.result.message.content[0].text for r in results}
    assert texts == {"r0": "one", "r1": "two"}
    assert [r.custom_id for r in results] != ["r0", "r1"]
    assert {r.result.message.usage.service_tier for r in results} == {"batch"}


def test_anthropic_sdk_reads_the_errors_of_lines(anthropic_sdk, emulator):
    emulator.script(Fault(status=529))
    batch_requests = anthropic_requests(1)
    batch_requests += [
        {"custom_id": "hot", "params": {**BODIES["anthropic"], "temperature": 1.0}},
        {"custom_id": "live", "params": {**BODIES["anthropic"], "stream": True}},
    ]

    made = anthropic_sdk.messages.batches.create(
        requests=batch_requests, extra_headers=VERSION
    )

    batch = anthropic_sdk.messages.batches.retrieve(made.id)
    results = anthropic_sdk.messages.batches.results(made.id)
    errors = {r.custom_id: r.result.error.error for r in results}
    assert batch.request_counts.errored == 3
    assert errors["r0"].type == "overloaded_error"
    assert errors["hot"].type == "invalid_request_error"
    assert "temperature" in errors["hot"].message
    assert errors["live"].type == "invalid_request_error"


def test_anthropic_line_without_usage_stays_without(url, emulator):
    emulator.script(Fault(usage_missing=True))
    path = submitted("anthropic", url, 1)
    call("anthropic", url, "GET", path)

    (line,) = call("anthropic", url, "GET", f"{path}/results").text.splitlines()

    assert "usage" not in json.loads(line)["result"]["message"]


def test_anthropic_sdk_reads_pages_of_batches(anthropic_sdk):
    batches = anthropic_sdk.messages.batches
    made = [batches.create(requests=anthropic_requests(1)).id for _ in range(5)]

    first = batches.list(limit=2)
    newer = batches.list(before_id=made[1], limit=2)

    assert [batch.id for batch in first.data] == [made[4], made[3]]
    assert (first.has_more, first.first_id, first.last_id) == (True, made[4], made[3])
    assert [batch.id for batch in batches.list(limit=2)] == made[::-1]
    assert [batch.id for batch in newer.data] == [made[3], made[2]]
    assert newer.has_more is True


def test_anthropic_sdk_cancels_and_deletes(anthropic_sdk, emulator):
    emulator.script(BatchCourse(outcome="in_progress", done=1))
    batches = anthropic_sdk.messages.batches
    made = batches.create(requests=anthropic_requests(3))
    with pytest.raises(oracle("anthropic").BadRequestError, match="not ended"):
        batches.delete(made.id)

    canceling = batches.cancel(made.id)
    ended = batches.retrieve(made.id)
    results = {r.custom_id: r.result.type for r in batches.results(made.id)}
    deleted = batches.delete(made.id)

    assert canceling.processing_status == "canceling"
    assert canceling.cancel_initiated_at is not None
    assert ended.processing_status == "ended"
    assert (ended.request_counts.succeeded, ended.request_counts.canceled) == (1, 2)
    assert results == {"r0": "succeeded", "r1": "canceled", "r2": "canceled"}
    assert (deleted.id, deleted.type) == (made.id, "message_batch_deleted")
    with pytest.raises(oracle("anthropic").NotFoundError):
        batches.retrieve(made.id)


def test_anthropic_batch_that_has_ended_is_not_cancelled(url):
    path = submitted("anthropic", url)

    assert cancel("anthropic", url, path).status_code == 400


def test_anthropic_results_are_not_there_before_the_end(url, emulator):
    emulator.script(BatchCourse(polls=1))
    path = submitted("anthropic", url)

    early = call("anthropic", url, "GET", f"{path}/results")

    assert early.status_code == 404
    assert early.json()["error"]["type"] == "not_found_error"


def test_anthropic_lines_are_all_errored_where_others_fail_as_a_whole(url, emulator):
    emulator.script(BatchCourse(outcome="failed", message="Lost."))
    path = submitted("anthropic", url, 2)

    assert outcomes("anthropic", url, path) == {"r0": "errored", "r1": "errored"}


ITEM = anthropic_requests(1)[0]
BAD_REQUESTS = [
    ({}, "requests"),
    ({"requests": []}, "requests"),
    ({"requests": [ITEM, "r1"]}, "requests"),
    ({"requests": [{**ITEM, "custom_id": "a b"}]}, "requests.0.custom_id"),
    ({"requests": [{"custom_id": "a"}]}, "requests.0.params"),
    ({"requests": [ITEM, ITEM]}, "requests.1.custom_id"),
    ({"requests": [ITEM], "metadata": {}}, "metadata"),
]


@pytest.mark.parametrize(("body", "where"), BAD_REQUESTS)
def test_anthropic_batch_with_a_mistake_is_not_made(url, body, where):
    refused = call("anthropic", url, "POST", "/v1/messages/batches", json=body)

    assert refused.status_code == 400
    assert refused.json()["error"]["message"].startswith(f"{where}: ")


def test_anthropic_batches_need_a_version(url):
    answer = requests.get(
        f"{url}/v1/messages/batches", headers={"x-api-key": "k"}, timeout=5
    )

    assert answer.status_code == 400
    assert "anthropic-version" in answer.json()["error"]["message"]


# --- Google


def google_batch(google_sdk, *contents, **config):
    src = [
        {"contents": text, "metadata": {"key": f"r{place}"}, "config": config or None}
        for place, text in enumerate(contents)
    ]
    return google_sdk.batches.create(
        model="gemini-3.8-flash", src=src, config={"display_name": "nightly"}
    )


def test_google_sdk_sees_a_batch_through(google_sdk, emulator):
    emulator.script(Answer(text="one"), Fault(status=503))

    made = google_batch(google_sdk, "a", "b", max_output_tokens=50)
    batch = google_sdk.batches.get(name=made.name)

    assert (made.state.name, made.display_name) == ("JOB_STATE_PENDING", "nightly")
    assert made.model == "models/gemini-3.8-flash"
    assert made.create_time.timestamp() == NOW
    assert batch.state.name == "JOB_STATE_SUCCEEDED"
    assert batch.end_time is not None
    good, bad = batch.dest.inlined_responses
    assert (good.response.text, good.metadata) == ("one", {"key": "r0"})
    assert good.response.usage_metadata.total_token_count > 0
    assert (bad.response, bad.metadata) == (None, {"key": "r1"})
    assert bad.error.code == 14


def test_google_line_that_is_refused_is_an_error_item(url):
    bad = {"contents": [{"role": "poet", "parts": [{"text": "Hi"}]}]}

    made = submit("google", url, [bad, BODIES["google"]]).json()
    batch = call("google", url, "GET", path_of("google", made)).json()

    items = batch["response"]["inlinedResponses"]["inlinedResponses"]
    assert batch["done"] is True
    assert items[0]["error"]["code"] == 3
    assert "role" in items[0]["error"]["message"]
    assert items[1]["response"]["candidates"]
    assert batch["metadata"]["batchStats"] == {
        "requestCount": "2",
        "successfulRequestCount": "1",
        "failedRequestCount": "1",
    }


def test_google_sdk_lists_batches(google_sdk):
    made = [google_batch(google_sdk, "a").name for _ in range(3)]

    names = [job.name for job in google_sdk.batches.list(config={"page_size": 2})]

    assert names == made[::-1]


def test_google_sdk_cancels_and_deletes(google_sdk, emulator):
    emulator.script(BatchCourse(outcome="in_progress", done=1))
    made = google_batch(google_sdk, "a", "b")

    google_sdk.batches.cancel(name=made.name)
    batch = google_sdk.batches.get(name=made.name)
    google_sdk.batches.delete(name=made.name)

    assert batch.state.name == "JOB_STATE_CANCELLED"
    good, bad = batch.dest.inlined_responses
    assert (good.error, bad.error.code) == (None, 1)
    with pytest.raises(oracle("google.genai.errors").ClientError, match="NOT_FOUND"):
        google_sdk.batches.get(name=made.name)


def test_google_batch_that_failed_has_an_error_and_no_output(google_sdk, emulator, url):
    emulator.script(BatchCourse(outcome="failed", message="Bad batch."))

    made = google_batch(google_sdk, "a")
    batch = google_sdk.batches.get(name=made.name)

    raw = call("google", url, "GET", f"/v1beta/{made.name}").json()
    assert (batch.state.name, batch.dest) == ("JOB_STATE_FAILED", None)
    assert raw["error"] == {"code": 3, "message": "Bad batch."}


@pytest.mark.parametrize("outcome", ["expired", "cancelled"])
def test_google_keeps_no_results_of_a_batch_that_did_not_end_well(
    url, emulator, outcome
):
    emulator.script(BatchCourse(outcome=outcome))
    path = submitted("google", url)

    batch = call("google", url, "GET", path).json()

    assert batch["metadata"]["state"] == f"BATCH_STATE_{outcome.upper()}"
    assert batch["done"] is True
    assert "output" not in batch["metadata"]
    assert "response" not in batch


BAD_BATCHES = [
    {},
    {"displayName": "d"},
    {"displayName": "d", "inputConfig": {"requests": {"requests": []}}},
    {"displayName": "d", "inputConfig": {"requests": {"requests": [{}]}}},
    {"inputConfig": {"requests": {"requests": [{"request": BODIES["google"]}]}}},
    {"displayName": "d", "colour": "red"},
]


@pytest.mark.parametrize("batch", BAD_BATCHES)
def test_google_batch_with_a_mistake_is_not_made(url, batch):
    path = "/v1beta/models/gemini-3.8-flash:batchGenerateContent"

    refused = call("google", url, "POST", path, json={"batch": batch})

    assert refused.status_code == 400
    assert refused.json()["error"]["status"] == "INVALID_ARGUMENT"


# --- how a batch goes, at all three


@each_api
def test_batch_stays_in_progress_until_it_is_cancelled(url, emulator, api):
    _, working, cancelling = STATES[api]
    emulator.script(BatchCourse(outcome="in_progress"))
    path = submitted(api, url)

    states = {state(api, url, path) for _ in range(20)}
    answer = cancel(api, url, path)

    assert states == {working}
    assert answer.status_code == 200
    if api != "google":
        assert answer.json()[STATES[api][0]] == cancelling
    assert state(api, url, path) != working


@each_api
def test_batch_takes_as_many_polls_as_the_emulator_says(api):
    emulator = Emulator(batch_polls=2)
    app = Flask("house")
    app.register_blueprint(emulator.blueprint)
    _, working, _ = STATES[api]
    with serve(app) as url:
        path = submitted(api, url)

        states = [state(api, url, path) for _ in range(3)]

    assert states[0] == working
    assert states[2] not in (working, "finalizing")


LEFT = {"openai": "batch_expired", "anthropic": "expired", "google": 4}
STOPPED = {"openai": "batch_cancelled", "anthropic": "canceled", "google": 1}


@pytest.mark.parametrize(
    ("outcome", "words"), [("expired", LEFT), ("cancelled", STOPPED)]
)
@each_api
def test_batch_ends_with_some_lines_done(url, emulator, api, outcome, words):
    emulator.script(BatchCourse(outcome=outcome, done=1))
    path = submitted(api, url, 3)

    found = outcomes(api, url, path)

    left = [found["r1"], found["r2"]]
    if api == "google":
        left = [error["code"] for error in left]
    assert found["r0"] in ("ok", "succeeded")
    assert left == [words[api]] * 2


def test_batch_fails_as_a_whole_with_the_scripted_error(openai_sdk, emulator):
    course = BatchCourse(
        outcome="failed", code="token_limit_exceeded", message="Too much.", line=2
    )
    emulator.script(course)

    made = sdk_batch(openai_sdk, openai_lines([BODIES["openai"]] * 2))

    batch = openai_sdk.batches.retrieve(made.id)
    (error,) = batch.errors.data
    assert batch.status == "failed"
    assert (error.code, error.message, error.line) == (
        "token_limit_exceeded",
        "Too much.",
        2,
    )


def listed(api, url):
    body = call(api, url, "GET", ROOTS[api]).json()
    return body.get("operations", []) if api == "google" else body["data"]


@each_api
def test_batch_is_made_though_its_answer_is_lost(url, emulator, api):
    emulator.script(BatchCourse(on_submit=Fault(reset_after=0)))

    with pytest.raises(requests.ConnectionError):
        submit(api, url, [BODIES[api]])

    assert len(listed(api, url)) == 1


@each_api
def test_submission_that_is_refused_makes_no_batch(url, emulator, api):
    emulator.script(BatchCourse(on_submit=Fault(status=429, retry_after=2)))

    refused = submit(api, url, [BODIES[api]])

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "2")
    assert "error" in refused.json()
    assert listed(api, url) == []
    assert submit(api, url, [BODIES[api]]).status_code == 200


@each_api
def test_polls_fail_as_scripted(url, emulator, api):
    faults = [Fault(status=429), None, Fault(status=500), Fault(reset_after=0)]
    emulator.script(BatchCourse(on_poll=faults))
    path = submitted(api, url)

    statuses = [call(api, url, "GET", path).status_code for _ in range(3)]
    with pytest.raises(requests.ConnectionError):
        call(api, url, "GET", path)

    assert statuses == [429, 200, 500]
    assert call(api, url, "GET", path).status_code == 200


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_results_are_cut_off_as_scripted(url, emulator, api):
    emulator.script(BatchCourse(on_results=[Fault(reset_after=100)]))
    path = submitted(api, url)
    batch = call(api, url, "GET", path).json()
    where = f"/v1/files/{batch.get('output_file_id')}/content"
    target = where if api == "openai" else f"{path}/results"

    with pytest.raises(requests.RequestException):
        call(api, url, "GET", target)

    assert len(call(api, url, "GET", target).text.splitlines()) == 4


@each_api
def test_unknown_batch_is_404(url, api):
    path = f"{ROOTS[api]}/none"

    answers = [call(api, url, "GET", path), cancel(api, url, path)]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert all("error" in answer.json() for answer in answers)


@each_api
def test_batch_belongs_to_the_key_that_made_it(url, api):
    path = submitted(api, url)

    theirs = call(api, url, "GET", path, key="another")

    assert theirs.status_code == 404
    assert call(api, url, "GET", path).status_code == 200
    name = "operations" if api == "google" else "data"
    page = call(api, url, "GET", ROOTS[api], key="another").json()
    assert page.get(name, []) == []


def test_file_belongs_to_the_key_that_made_it(url):
    file = upload(url, jsonl([LINE])).json()["id"]
    order = {
        "input_file_id": file,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }

    theirs = call("openai", url, "GET", f"/v1/files/{file}/content", key="another")
    batch = call("openai", url, "POST", "/v1/batches", key="another", json=order)

    assert theirs.status_code == 404
    assert batch.status_code == 400
    gone = call("openai", url, "DELETE", f"/v1/files/{file}", key="another")
    assert gone.status_code == 404


@pytest.mark.parametrize(
    ("api", "status"), [("openai", 401), ("anthropic", 401), ("google", 400)]
)
def test_wrong_key_is_refused(api, status):
    emulator = Emulator(api_key="right")
    app = Flask("house")
    app.register_blueprint(emulator.blueprint)
    with serve(app) as url:
        refused = call(api, url, "GET", ROOTS[api], key="wrong")
        accepted = call(api, url, "GET", ROOTS[api], key="right")

    assert (refused.status_code, accepted.status_code) == (status, 200)


def test_google_key_may_be_in_the_query():
    emulator = Emulator(api_key="right")
    app = Flask("house")
    app.register_blueprint(emulator.blueprint)
    items = [{"request": BODIES["google"]}]
    batch = {"displayName": "d", "inputConfig": {"requests": {"requests": items}}}
    path = "v1/models/gemini-3.8-flash:batchGenerateContent"
    with serve(app) as url:
        options = {"params": {"key": "right"}, "timeout": 5}
        made = requests.post(f"{url}/{path}", json={"batch": batch}, **options).json()
        ended = requests.get(f"{url}/v1/{made['name']}", **options).json()

    (item,) = ended["response"]["inlinedResponses"]["inlinedResponses"]
    assert "response" in item


@each_api
def test_lenient_emulator_takes_parameters_it_does_not_know(api):
    emulator = Emulator(strict=False)
    app = Flask("house")
    app.register_blueprint(emulator.blueprint)
    path = ROOTS[api]
    with serve(app) as url:
        if api == "openai":
            made = create_openai(url, [LINE], priority="high")
        elif api == "anthropic":
            body = {"requests": [ITEM], "priority": "high"}
            made = call(api, url, "POST", path, json=body)
        else:
            items = [{"request": BODIES["google"]}]
            config = {"requests": {"requests": items}}
            batch = {"displayName": "d", "inputConfig": config, "colour": "red"}
            path = "/v1/models/gemini-3.8-flash:batchGenerateContent"
            made = call(api, url, "POST", path, json={"batch": batch})

    assert made.status_code == 200


def test_openai_lines_without_a_model_are_refused_one_by_one(openai_sdk):
    body = {"messages": BODIES["openai"]["messages"]}

    made = sdk_batch(openai_sdk, openai_lines([body, body]))

    batch = openai_sdk.batches.retrieve(made.id)
    errors = rows(openai_sdk, batch.error_file_id)
    assert (batch.status, batch.request_counts.failed) == ("completed", 2)
    assert "model" in errors[0]["response"]["body"]["error"]["message"]


def test_openai_file_that_is_no_text_comes_back_and_makes_no_batch(openai_sdk):
    data = b"\xff\xfe\n"
    file = openai_sdk.files.create(file=("in.jsonl", data), purpose="batch")

    made = openai_sdk.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
    )

    assert openai_sdk.files.content(file.id).content == data
    assert openai_sdk.batches.retrieve(made.id).status == "failed"


def test_openai_file_of_too_many_lines_fails(url):
    made = create_openai(url, "{}\n" * 50_001).json()

    batch = call("openai", url, "GET", path_of("openai", made)).json()

    assert [error["code"] for error in batch["errors"]["data"]] == ["too_many_tasks"]


def test_anthropic_batch_of_too_many_requests_is_not_made(url):
    body = {"requests": [{}] * 100_001}

    refused = call("anthropic", url, "POST", "/v1/messages/batches", json=body)

    assert refused.status_code == 400
    assert "100000" in refused.json()["error"]["message"]


def test_polls_at_the_same_time_each_count_once(url, emulator):
    emulator.script(BatchCourse(polls=20))
    path = submitted("openai", url)

    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(lambda _: state("openai", url, path), range(24)))

    assert states.count("in_progress") == 19
    assert states.count("finalizing") == 1
    assert states.count("completed") == 4


@each_api
def test_body_that_is_no_json_makes_no_batch(url, api):
    path = ROOTS[api]
    if api == "google":
        path = "/v1beta/models/gemini-3.8-flash:batchGenerateContent"

    assert call(api, url, "POST", path, data=b"{").status_code == 400


@each_api
@pytest.mark.parametrize("name", ["limit", "after"])
def test_page_that_does_not_exist_is_refused(url, api, name):
    names = {
        "openai": {"limit": "limit", "after": "after"},
        "anthropic": {"limit": "limit", "after": "after_id"},
        "google": {"limit": "pageSize", "after": "pageToken"},
    }[api]
    query = {names[name]: "-1"}

    answer = call(api, url, "GET", ROOTS[api], params=query)

    assert answer.status_code in (400, 404)


@each_api
def test_reset_forgets_batches_and_courses(url, emulator, api):
    path = submitted(api, url)
    emulator.script(BatchCourse(outcome="in_progress"))

    emulator.reset()

    assert call(api, url, "GET", path).status_code == 404
    again = submitted(api, url)
    assert again != path
    assert state(api, url, again) != STATES[api][1]


@each_api
def test_course_is_kept_for_its_model(url, emulator, api):
    emulator.script(BatchCourse(polls=5), model="nobody")
    path = submitted(api, url)

    assert state(api, url, path) != STATES[api][1]


def test_single_calls_leave_courses_alone(url, emulator):
    emulator.script(BatchCourse(polls=1), Answer(text="single"))
    single = call(
        "openai", url, "POST", "/v1/chat/completions", json=BODIES["openai"]
    ).json()
    path = submitted("openai", url)

    assert single["choices"][0]["message"]["content"] == "single"
    assert state("openai", url, path) == "in_progress"


def test_course_is_scripted_from_another_process(url, emulator):
    course = {"polls": 0, "outcome": "expired", "on_poll": [None, {"status": 500}]}
    answer = requests.post(
        f"{url}/control", json={"script": [{"batch": course}]}, timeout=5
    )
    path = submitted("openai", url)

    assert answer.json()["scripted"] == 1
    assert state("openai", url, path) == "expired"
    assert call("openai", url, "GET", path).status_code == 500


@pytest.mark.parametrize(
    ("course", "word"),
    [
        ({"pols": 1}, "pols"),
        ({"outcome": "lost"}, "lost"),
        ({"polls": -1}, "polls"),
        ({"done": -1}, "done"),
        ({"on_submit": {"text": "hello"}}, "Fault"),
    ],
)
def test_course_with_a_mistake_is_refused(url, course, word):
    answer = requests.post(
        f"{url}/control", json={"script": [{"batch": course}]}, timeout=5
    )

    assert answer.status_code == 400
    assert word in answer.json()["error"]


def test_batch_requests_are_on_record(url, emulator):
    submitted("openai", url)

    assert [arrival.path for arrival in emulator.requests] == [
        "/emulator/v1/files",
        "/emulator/v1/batches",
    ]

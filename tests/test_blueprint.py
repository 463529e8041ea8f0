"""The blueprint: one line sets an app up, and its reports are closed to strangers."""

import hmac
from base64 import b64encode

import pytest
from conftest import KEY, MODELS
from flask import Blueprint, Flask, abort, g, jsonify
from werkzeug.exceptions import HTTPException

import flask_llm
from flask_llm import LLM, ConfigError, LLMError, llm_bp
from flask_llm.emulator import Fault
from flask_llm.web import access

TOKEN = {"Authorization": "Bearer letmein"}

PROBLEM = "application/problem+json"


def basic(password, user="anybody"):
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def usage(app, query="", headers=None, prefix="/llm"):
    return app.test_client().get(f"{prefix}/usage{query}", headers=headers or TOKEN)


def calls(app, **options):
    return usage(app, **options).json["total"]["calls"]


@pytest.fixture
def open_app(make_app):
    """An app whose reports somebody may see, by a function of its own."""

    def make(authorizer, **config):
        app = make_app(register=False, **config)
        llm = LLM()
        llm.reports_authorizer(authorizer)
        llm.init_app(app)
        app.register_blueprint(llm_bp)
        return app

    return make


# Who may see reports


def test_reports_are_closed_unless_something_is_set(make_app):
    app = make_app(LLM_REPORTS_TOKEN=None)

    answer = usage(app)

    assert (answer.status_code, answer.mimetype) == (403, PROBLEM)
    assert "LLM_REPORTS_TOKEN" in answer.json["detail"]
    assert "reports_authorizer" in answer.json["detail"]


OPEN = [
    "Bearer letmein",
    "bearer letmein",
    "BEARER letmein",
    basic("letmein"),
    basic("letmein", user=""),
]

SHUT = [
    None,
    "",
    "letmein",
    "Bearer",
    "Bearer ",
    "Bearer Letmein",
    "Bearer letmei",
    "Bearer letmein2",
    "Bearer let mein",
    "Bearer лет",
    "Basic letmein",
    "Basic !!!",
    "Basic " + b64encode(b"\xff\xfe:\xff").decode(),
    "Basic " + b64encode(b"letmein").decode(),
    basic(""),
    basic("wrong"),
    basic("wrong", user="letmein"),
    "Digest letmein",
    "Token letmein",
]


@pytest.mark.parametrize("header", OPEN)
def test_token_opens_the_reports(make_app, header):
    answer = usage(make_app(), headers={"Authorization": header})

    assert (answer.status_code, answer.mimetype) == (200, "application/json")


@pytest.mark.parametrize("header", SHUT)
def test_wrong_token_is_refused(make_app, header):
    headers = {"X-Nothing": "1"} if header is None else {"Authorization": header}

    answer = usage(make_app(), headers=headers)

    assert (answer.status_code, answer.mimetype) == (401, PROBLEM)
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert "letmein" not in answer.text + str(answer.headers)


def test_token_in_the_address_opens_nothing(make_app):
    answer = usage(make_app(), "?token=letmein", headers={"X-Nothing": "1"})

    assert answer.status_code == 401


def test_token_may_have_any_letters(make_app):
    app = make_app(LLM_REPORTS_TOKEN="ключ")

    answer = usage(app, headers={"Authorization": basic("ключ")})

    assert answer.status_code == 200


def test_tokens_are_compared_in_constant_time(make_app, monkeypatch):
    compared = []

    class Watched:
        @staticmethod
        def compare_digest(given, token):
            compared.append((given, token))
            return hmac.compare_digest(given, token)

    monkeypatch.setattr(access, "hmac", Watched)

    usage(make_app(), headers={"Authorization": "Bearer wrong"})

    assert compared == [(b"wrong", b"letmein")]


@pytest.mark.parametrize(
    ("token", "header", "allowed", "status"),
    [
        (None, None, True, 200),
        (None, None, False, 403),
        (None, "Bearer letmein", False, 403),
        ("letmein", None, True, 200),
        ("letmein", None, False, 401),
        ("letmein", "Bearer letmein", False, 200),
        ("letmein", "Bearer wrong", True, 200),
    ],
)
def test_function_of_the_app_opens_the_reports_too(
    open_app, token, header, allowed, status
):
    app = open_app(lambda: allowed, LLM_REPORTS_TOKEN=token)
    headers = {"Authorization": header} if header else {"X-Nothing": "1"}

    assert usage(app, headers=headers).status_code == status


def test_function_of_the_app_sees_the_request(open_app):
    app = open_app(lambda: g.role == "admin", LLM_REPORTS_TOKEN=None)
    app.before_request(lambda: setattr(g, "role", "admin"))

    assert usage(app).status_code == 200


def test_function_of_the_app_may_answer_for_itself(open_app):
    app = open_app(lambda: abort(404), LLM_REPORTS_TOKEN=None)

    assert usage(app).status_code == 404


def test_function_of_the_app_that_fails_opens_nothing(open_app):
    app = open_app(lambda: 1 // 0, LLM_REPORTS_TOKEN="letmein")
    app.config["PROPAGATE_EXCEPTIONS"] = False

    assert usage(app).status_code == 500


@pytest.mark.parametrize(
    ("query", "headers"),
    [("", TOKEN), ("?limit=x", TOKEN), ("", {"X-Nothing": "1"})],
)
def test_no_answer_is_kept_on_the_way(make_app, query, headers):
    assert usage(make_app(), query, headers).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_reports_are_read_only(make_app, method):
    answer = getattr(make_app().test_client(), method)("/llm/usage", headers=TOKEN)

    assert answer.status_code == 405


def test_stranger_learns_nothing_of_the_parameters(make_app):
    answer = usage(make_app(), "?limit=x", headers={"X-Nothing": "1"})

    assert answer.status_code == 401
    assert "limit" not in answer.text


# The report over HTTP


def test_report_shows_what_calls_cost(app, emulator, rows):
    flask_llm.complete("Hi", user="ann", feature="greet", model=MODELS["openai"])
    flask_llm.complete("Hi", user="bob", feature="greet", model=MODELS["google"])

    answer = usage(app, "?group_by=provider,user&sort=group").json

    spent = sum(row.cost_nanos for row in rows())
    assert answer["total"]["calls"] == 2
    assert answer["total"]["cost_usd"] == f"0.{spent:09d}"
    assert [(line["provider"], line["user"]) for line in answer["groups"]] == [
        ("google", "bob"),
        ("openai", "ann"),
    ]


def test_report_is_made_of_numbers_and_strings_only(app, emulator):
    flask_llm.complete("Hi")

    total = usage(app).json["total"]

    assert isinstance(total["cost_usd"], str)
    assert total.pop("unpriced_share") == 0.0
    assert {type(value) for value in total.values()} == {str, int}


def test_report_holds_no_prompt_answer_or_key(app, emulator):
    flask_llm.complete("my secret prompt", user="ann")

    text = usage(app, "?group_by=user,model,feature,tenant,day,hour,status").text

    assert "secret" not in text
    assert KEY not in text


def test_filter_may_be_given_several_times(app, emulator):
    flask_llm.complete("Hi", user="ann")
    flask_llm.complete("Hi", user="bob")
    flask_llm.complete("Hi", user="eve")

    assert calls(app, query="?user=ann&user=bob") == 2


def test_empty_filter_means_nobody(app, emulator):
    flask_llm.complete("Hi", user="ann")
    flask_llm.complete("Hi")

    assert calls(app, query="?user=") == 1


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("?since=yesterday", "since"),
        ("?until=9999-12-31", "until"),
        ("?tz=Mars", "tz"),
        ("?group_by=users", "group_by"),
        ("?sort=cost", "sort"),
        ("?limit=0", "limit"),
        ("?limit=5&limit=6", "limit"),
        ("?user=%00", "user"),
        ("?usr=ann", "usr"),
        ("?%3Cscript%3E=1", "<script>"),
        ("?tz=%FF", "tz"),
    ],
)
def test_bad_parameter_is_a_problem_that_names_it(make_app, query, parameter):
    answer = usage(make_app(), query)

    assert (answer.status_code, answer.mimetype) == (400, PROBLEM)
    assert answer.json["parameter"] == parameter
    assert answer.json["status"] == 400
    assert answer.json["detail"].startswith(f"{parameter}: ")


def test_missing_tables_are_a_problem_and_the_log_says_the_cure(make_app, caplog):
    answer = usage(make_app(LLM_AUTO_MIGRATE=False))

    assert (answer.status_code, answer.mimetype) == (500, PROBLEM)
    assert answer.json["code"] == "not_migrated"
    assert "flask llm db upgrade" in caplog.text


# Setting apps up


def test_registering_the_blueprint_is_the_whole_set_up(tmp_path):
    app = Flask("whole", instance_path=str(tmp_path))

    app.register_blueprint(llm_bp)

    assert usage(app).status_code == 403
    assert "llm" in app.extensions


def test_apps_in_one_process_share_nothing(make_app, emulator):
    first = make_app("first")
    second = make_app("second", LLM_REPORTS_TOKEN="other")
    with first.app_context():
        flask_llm.complete("Hi")

    assert calls(first) == 1
    assert usage(second).status_code == 401
    assert calls(second, headers={"Authorization": "Bearer other"}) == 0


def test_apps_nested_in_one_another_each_write_their_own(make_app, emulator):
    outer, inner = make_app("outer"), make_app("inner")

    with outer.app_context():
        with inner.app_context():
            flask_llm.complete("Hi")
        flask_llm.complete("Hi")
        flask_llm.complete("Hi")

    assert (calls(outer), calls(inner)) == (2, 1)


def test_blueprint_may_live_elsewhere(make_app):
    app = make_app(register=False)

    app.register_blueprint(llm_bp, url_prefix="/costs")

    assert usage(app, prefix="/costs").status_code == 200
    assert usage(app).status_code == 404


def test_blueprint_may_be_registered_twice_under_two_names(make_app):
    app = make_app()

    app.register_blueprint(llm_bp, url_prefix="/second", name="second")

    assert usage(app).status_code == 200
    assert usage(app, prefix="/second").status_code == 200


def test_blueprint_may_hang_on_another_one(make_app):
    app = make_app(register=False)
    admin = Blueprint("admin", __name__, url_prefix="/admin")
    admin.register_blueprint(llm_bp)

    app.register_blueprint(admin)

    assert usage(app, prefix="/admin/llm").status_code == 200
    assert usage(app, prefix="/admin/llm", headers={"X": "1"}).status_code == 401


def test_factory_makes_app_after_app(make_app):
    apps = [make_app(f"app{number}") for number in range(5)]

    assert [usage(app).status_code for app in apps] == [200] * 5


@pytest.mark.parametrize("first", ["extension", "blueprint"])
def test_extension_and_blueprint_come_in_either_order(make_app, emulator, first):
    app, llm = make_app(register=False), LLM()
    llm.user_loader(lambda: "ann")
    llm.tenant_loader(lambda: 7)
    steps = [llm.init_app, lambda app: app.register_blueprint(llm_bp)]
    steps = steps if first == "extension" else steps[::-1]

    [step(app) for step in steps]

    with app.test_request_context():
        flask_llm.complete("Hi")
    (line,) = usage(app, "?group_by=user,tenant").json["groups"]
    assert (line["user"], line["tenant"]) == ("ann", "7")


def test_hooks_may_be_hung_after_the_set_up(make_app, emulator):
    app = make_app(register=False)
    llm = LLM(app)

    @llm.user_loader
    def user():
        return "late"

    app.register_blueprint(llm_bp)

    with app.test_request_context():
        flask_llm.complete("Hi")
    assert calls(app, query="?user=late") == 1
    assert user() == "late"


def test_one_extension_serves_several_apps(make_app, emulator):
    llm = LLM()
    apps = [make_app(f"app{number}", register=False) for number in range(2)]

    [llm.init_app(app) for app in apps]

    with apps[0].app_context():
        flask_llm.complete("Hi")
    states = [app.extensions["llm"] for app in apps]
    assert states[0].database is not states[1].database


@pytest.mark.parametrize("again", [LLM(), None])
def test_second_set_up_of_one_app_is_refused(make_app, again):
    app = make_app("twice", register=False)
    llm = LLM(app)

    with pytest.raises(ConfigError, match="'twice' has been set up already"):
        (again or llm).init_app(app)


def test_bad_setting_fails_where_the_blueprint_is_registered(make_app):
    app = make_app(register=False, LLM_TIMEOUT="soon")

    with pytest.raises(ConfigError, match="LLM_TIMEOUT"):
        app.register_blueprint(llm_bp)


def test_app_without_the_blueprint_is_told_so(make_app):
    app = make_app(register=False)

    with app.app_context(), pytest.raises(ConfigError, match="register_blueprint"):
        flask_llm.complete("Hi")


def test_call_without_an_app_is_told_so():
    with pytest.raises(ConfigError, match="app_context"):
        flask_llm.complete("Hi")


def test_feature_is_the_endpoint_and_the_label_can_be_given(make_app, emulator):
    app = make_app()

    @app.post("/summarise")
    def summarise():
        flask_llm.complete("Hi", feature="other")
        return flask_llm.complete("Hi").to_dict()

    app.test_client().post("/summarise")

    groups = usage(app, "?group_by=feature&sort=group").json["groups"]
    assert [line["feature"] for line in groups] == ["other", "summarise"]


# Errors of a view


def failing_app(make_app, error=None, **config):
    app = make_app(**config)

    @app.get("/ask")
    def ask():
        if error is not None:
            raise error
        return flask_llm.complete("my secret prompt", retries=0).to_dict()

    return app


ERRORS = [
    (flask_llm.ConfigError("Set LLM_X."), 500),
    (flask_llm.DeadlineExceeded("No slot."), 504),
    (flask_llm.AuthenticationError("Refused."), 502),
    (flask_llm.InvalidRequestError("Wrong."), 400),
    (flask_llm.RequestTooLarge("Too large."), 413),
    (flask_llm.ContentFilteredError("Filtered."), 422),
    (flask_llm.RateLimitError("Wait."), 429),
    (flask_llm.QuotaExhaustedError("Pay."), 503),
    (flask_llm.OverloadedError("Later."), 503),
    (flask_llm.ReadTimeout("Silence."), 504),
    (flask_llm.ResponseError("Garbage."), 502),
]


@pytest.mark.parametrize(("error", "status"), ERRORS, ids=str)
def test_uncaught_error_is_a_problem_with_its_status(make_app, error, status):
    app = failing_app(make_app, error)

    answer = app.test_client().get("/ask")

    assert (answer.status_code, answer.mimetype) == (status, PROBLEM)
    assert answer.json["status"] == status
    assert answer.json["title"] == error.title
    assert answer.json["type"] == "about:blank"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("log_content", [False, True])
def test_problem_holds_no_word_of_the_provider_no_key_and_no_prompt(
    make_app, emulator, status, log_content
):
    app = failing_app(make_app, LLM_LOG_CONTENT=log_content)
    words = f"tut-tut, my secret prompt {KEY}"
    emulator.script(Fault(status=status, message=words, type="odd_type", code="odd"))

    answer = app.test_client().get("/ask")

    shown = answer.text + str(answer.headers)
    assert answer.mimetype == PROBLEM
    assert answer.json["request_id"]
    assert "tut-tut" not in shown
    assert "odd" not in shown
    assert "secret" not in shown
    assert KEY not in shown


@pytest.mark.parametrize(
    ("retry_after", "header"), [("7", "7"), ("1.2", "2"), ("0", "0"), (None, None)]
)
def test_browser_is_told_when_to_try_again(make_app, emulator, retry_after, header):
    app = failing_app(make_app)
    emulator.script(Fault(status=429, retry_after=retry_after))

    answer = app.test_client().get("/ask")

    assert (answer.status_code, answer.headers.get("Retry-After")) == (429, header)


def test_limit_of_ours_says_what_to_do(make_app):
    app = failing_app(make_app, flask_llm.DeadlineExceeded("Raise the timeout."))

    answer = app.test_client().get("/ask")

    assert answer.json["detail"] == "Raise the timeout."
    assert answer.json["code"] == "deadline_exceeded"


def test_fault_of_the_set_up_is_for_the_log_and_not_for_strangers(make_app, caplog):
    app = failing_app(make_app, flask_llm.ConfigError("Set LLM_SECRET_PLACE."))

    answer = app.test_client().get("/ask")

    assert "LLM_SECRET_PLACE" not in answer.text
    assert "LLM_SECRET_PLACE" in caplog.text


def test_handler_can_be_left_out(make_app):
    error = flask_llm.RateLimitError("Wait.")
    app = failing_app(make_app, error, LLM_ERROR_HANDLER=False)

    with pytest.raises(flask_llm.RateLimitError):
        app.test_client().get("/ask")


def test_reports_are_problems_where_the_handler_is_left_out(make_app):
    app = make_app(LLM_ERROR_HANDLER=False, LLM_AUTO_MIGRATE=False)

    answer = usage(app)

    assert (answer.status_code, answer.mimetype) == (500, PROBLEM)


def test_handler_of_the_host_registered_afterwards_wins(make_app):
    app = failing_app(make_app, flask_llm.RateLimitError("Wait."))
    app.register_error_handler(LLMError, lambda _: (jsonify(mine=True), 418))

    answer = app.test_client().get("/ask")

    assert (answer.status_code, answer.json) == (418, {"mine": True})


def test_handler_of_the_host_for_one_kind_of_error_wins(make_app):
    app = make_app(register=False)
    app.register_error_handler(flask_llm.RateLimitError, lambda _: ("own", 418))
    app.register_blueprint(llm_bp)
    app.add_url_rule("/ask", view_func=lambda: raising(flask_llm.RateLimitError("x")))

    assert app.test_client().get("/ask").status_code == 418


def raising(error):
    raise error


def test_handler_of_the_host_for_everything_leaves_ours_be(make_app):
    app = failing_app(make_app, flask_llm.RateLimitError("Wait."))
    app.register_error_handler(Exception, lambda _: ("everything", 500))

    assert app.test_client().get("/ask").status_code == 429


def test_errors_that_are_not_ours_are_none_of_our_business(make_app):
    app = failing_app(make_app, ValueError("the host's own"))
    app.register_error_handler(HTTPException, lambda error: ("html", error.code))

    with pytest.raises(ValueError, match="the host's own"):
        app.test_client().get("/ask")
    assert app.test_client().get("/nowhere").text == "html"


def test_a_hosts_handler_that_was_there_first_stays(make_app):
    app = make_app(register=False)
    app.register_error_handler(LLMError, lambda _error: ("tea", 418))
    app.register_blueprint(flask_llm.llm_bp)

    @app.get("/ask")
    def ask():
        return flask_llm.complete("").text

    response = app.test_client().get("/ask")

    assert (response.status_code, response.text) == (418, "tea")

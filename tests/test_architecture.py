"""The house: floors, owners and sizes, read from the source itself."""

import ast
import graphlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import flask_llm

ROOT = Path(flask_llm.__file__).parent.parent

FLOORS = {
    "flask_llm": 8,
    "flask_llm.extension": 7,
    "flask_llm.assembly": 7,
    "flask_llm.testing": 7,
    "flask_llm.web": 6,
    "flask_llm.cli": 6,
    "flask_llm.api": 5,
    "flask_llm.batches": 5,
    "flask_llm.embedding": 5,
    "flask_llm.options": 5,
    "flask_llm.state": 5,
    "flask_llm.client": 4,
    "flask_llm.observe": 4,
    "flask_llm.guards": 3,
    "flask_llm.transport": 3,
    "flask_llm.usage": 3,
    "flask_llm.providers": 2,
    "flask_llm.protocols": 2,
    "flask_llm.encodings": 1,
    "flask_llm.tokens": 1,
    "flask_llm.signals": 1,
    "flask_llm.wire": 1,
    "flask_llm.retry": 1,
    "flask_llm.pricing": 1,
    "flask_llm.settings": 1,
    "flask_llm.chat": 0,
    "flask_llm.schema": 0,
    "flask_llm.errors": 0,
    "flask_llm.forks": 0,
    # A house of its own next door: it imports nothing of this one.
    "flask_llm.emulator": 0,
}
"""A module belongs to the floor of the longest name here that it starts with."""

OWNERS = {
    "requests": ["flask_llm.transport", "flask_llm.testing"],
    "urllib3": ["flask_llm.transport", "flask_llm.retry"],
    "flask": [
        "flask_llm.api",
        "flask_llm.options",
        "flask_llm.state",
        "flask_llm.cli",
        "flask_llm.web",
        "flask_llm.extension",
        "flask_llm.assembly",
        "flask_llm.guards",
        "flask_llm.emulator",
        "flask_llm.testing.bridge",
    ],
    "flask_limiter": ["flask_llm.guards"],
    "limits": ["flask_llm.guards"],
    "flask_caching": ["flask_llm.guards"],
    "sqlalchemy": [
        "flask_llm.usage",
        "flask_llm.assembly",
        "migrations",
    ],
    "alembic": ["flask_llm.usage.migrate", "migrations"],
    "blinker": ["flask_llm.signals", "flask_llm.client.books"],
    "click": ["flask_llm.cli"],
    "werkzeug": ["flask_llm.emulator"],
    "responses": ["flask_llm.testing"],
    "pytest": ["flask_llm.testing.pytest_plugin"],
}
"""Who may import what does not come with Python; nobody imports anything else."""

DEFERRED = {
    "flask_llm.usage.database": "Alembic, only where tables are made",
    "flask_llm.usage.dialects": "SQLAlchemy's dialects, only the one in use",
    "flask_llm.cli.group": "commands, only where they are called for",
    "flask_llm.cli.drawing": "rich, an extra",
    "flask_llm.guards.cache.backends": "Flask-Caching, where an answer is looked for",
    "flask_llm.guards.shared": "redis, an extra",
    "flask_llm.encodings": "tiktoken, an extra",
    "flask_llm.observe.extras": "prometheus_client and opentelemetry, extras",
    "flask_llm.guards.counting": "Flask-Limiter, only where something is counted",
    "flask_llm.web.blueprint": "the dashboard, only where somebody looks",
    "flask_llm.web.dashboard.drawing": "pygal, an extra",
    "flask_llm.testing.pytest_plugin.fixtures": "the package, where a test asks",
}
"""Who loads a module by name, and what for."""

FUNCTION_LINES_MAX = 40
MODULE_LINES_MAX = 300

LONG_FUNCTIONS = {
    "migrations.versions.0001_usage.upgrade": 55,  # a line for each column
}
"""What is longer today, and how far it may go; it does not grow by itself."""

PUBLIC = [
    "LLM",
    "AuthenticationError",
    "Batch",
    "BudgetExceeded",
    "Chunk",
    "Completion",
    "ConfigError",
    "ConnectionFailed",
    "ContentFilteredError",
    "ContextLengthExceeded",
    "DeadlineExceeded",
    "Embeddings",
    "Estimate",
    "File",
    "Image",
    "InvalidRequestError",
    "LLMError",
    "LimitError",
    "Message",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "ProviderError",
    "QuotaExceeded",
    "QuotaExhaustedError",
    "RateLimitError",
    "ReadTimeout",
    "RequestTooLarge",
    "ResponseError",
    "RoundsExceeded",
    "SchemaError",
    "ServerError",
    "Stream",
    "StreamInterrupted",
    "Text",
    "Tool",
    "ToolCall",
    "ToolResult",
    "UnknownPriceError",
    "UnsupportedParameter",
    "Usage",
    "batches",
    "complete",
    "complete_many",
    "embed",
    "estimate",
    "llm_bp",
    "run_tools",
    "stream",
    "stream_response",
]

STRANGERS = [
    "openai",
    "anthropic",
    "google",
    "pydantic",
    "redis",
    "prometheus_client",
    "opentelemetry",
    "genai_prices",
    "alembic",
    "pytest",
    "responses",
    "httpx",
    "tiktoken",
    "flask_login",
    "flask_sqlalchemy",
    "pygal",
    "rich",
]
"""What an app that imports the package does not pay for."""

LIBRARIES = ["flask", "sqlalchemy", "requests", "flask_limiter", "flask_caching"]
"""What the package stands on, and most hosts have loaded before it."""

STANDARD = {"_zoneinfo", "concurrent", "fractions", "shlex", "zoneinfo"}
"""The modules of Python's own that it loads beside what these load."""


def module_name(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


SOURCES = {
    module_name(path): path
    for folder in ("flask_llm", "migrations")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text()) for name, path in SOURCES.items()}
OURS = [name for name in SOURCES if name.startswith("flask_llm")]

each_module = pytest.mark.parametrize("module", SOURCES)
each_of_ours = pytest.mark.parametrize("module", OURS)


def within(module, package):
    return module == package or module.startswith(f"{package}.")


def floor(module):
    return FLOORS[max((name for name in FLOORS if within(module, name)), key=len)]


def imports(module):
    """Return the modules that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node)
            names = {f"{base}.{alias.name}" for alias in node.names}
            modules = names & SOURCES.keys()
            found |= modules | ({base} if names - modules else set())
    return found


def absolute(module, node):
    if not node.level:
        return node.module
    is_package = SOURCES[module].name == "__init__.py"
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + is_package]
    return ".".join([*parts, *([node.module] if node.module else [])])


def functions(module):
    return [
        node
        for node in ast.walk(TREES[module])
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def length(node):
    return node.end_lineno - node.lineno + 1


def test_every_module_has_a_floor():
    homeless = [
        name
        for name in OURS
        if not any(within(name, room) for room in FLOORS if room != "flask_llm")
    ]

    assert homeless == ["flask_llm"]


def test_every_floor_is_lived_on():
    assert [room for room in FLOORS if room not in OURS] == []


@each_of_ours
def test_imports_only_go_down(module):
    own = [name for name in imports(module) if within(name, "flask_llm")]

    assert [name for name in own if floor(name) > floor(module)] == []


@pytest.mark.parametrize(
    "module", [name for name in OURS if within(name, "flask_llm.emulator")]
)
def test_emulator_knows_nothing_of_what_it_tests(module):
    own = [name for name in imports(module) if within(name, "flask_llm")]

    assert [name for name in own if not within(name, "flask_llm.emulator")] == []


@each_module
def test_library_is_imported_by_its_owners_only(module):
    libraries = {name.partition(".")[0] for name in imports(module)}
    foreign = libraries - sys.stdlib_module_names - {"flask_llm", "__future__"}

    assert [
        name
        for name in foreign
        if not any(within(module, owner) for owner in OWNERS.get(name, []))
    ] == []


@pytest.mark.parametrize("library", ["pytest", "responses", "hypothesis"])
def test_tools_of_the_tests_are_imported_by_the_test_kit_alone(library):
    users = [
        name
        for name in SOURCES
        if library in {used.partition(".")[0] for used in imports(name)}
    ]

    assert [name for name in users if not within(name, "flask_llm.testing")] == []


def test_test_kit_is_imported_by_nobody():
    users = [
        name
        for name in SOURCES
        if any(within(used, "flask_llm.testing") for used in imports(name))
    ]

    assert [name for name in users if not within(name, "flask_llm.testing")] == []


@each_module
def test_no_import_hides_in_a_function(module):
    hidden = [
        node.lineno
        for function in functions(module)
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]

    assert hidden == []


@each_module
def test_no_import_depends_on_a_condition(module):
    conditional = [
        node.lineno
        for branch in ast.walk(TREES[module])
        if isinstance(branch, (ast.If, ast.Try))
        for node in ast.walk(branch)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]

    assert conditional == []
    assert "TYPE_CHECKING" not in SOURCES[module].read_text()


def test_modules_loaded_by_name_are_few_and_known():
    loading = {
        name
        for name in SOURCES
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Attribute) and node.attr == "import_module"
    }

    assert loading == set(DEFERRED)


def test_no_import_goes_in_a_circle():
    graph = {name: imports(name) & SOURCES.keys() for name in OURS}
    graph["flask_llm.usage.database"].add("flask_llm.usage.migrate")

    assert list(graphlib.TopologicalSorter(graph).static_order())


@each_module
def test_functions_are_short(module):
    long = [
        node.name
        for node in functions(module)
        if length(node)
        > LONG_FUNCTIONS.get(f"{module}.{node.name}", FUNCTION_LINES_MAX)
    ]

    assert long == []


@each_module
def test_modules_are_short(module):
    lines = len(SOURCES[module].read_text().splitlines())

    assert lines <= MODULE_LINES_MAX


@pytest.mark.parametrize("name", LONG_FUNCTIONS)
def test_function_that_became_short_is_off_the_list(name):
    module, _, function = name.rpartition(".")

    lengths = [length(node) for node in functions(module) if node.name == function]

    assert max(lengths) > FUNCTION_LINES_MAX


@each_module
def test_module_says_in_one_line_what_it_is(module):
    first = (ast.get_docstring(TREES[module]) or "").partition("\n")[0]

    assert first.endswith(".")


@each_of_ours
def test_nothing_is_logged_to_the_root_or_printed(module):
    names = {node.id for node in ast.walk(TREES[module]) if isinstance(node, ast.Name)}
    attributes = {
        node.attr for node in ast.walk(TREES[module]) if isinstance(node, ast.Attribute)
    }

    assert "print" not in names
    assert "basicConfig" not in attributes


# What users see


def test_public_names_are_pinned():
    assert flask_llm.__all__ == PUBLIC


def test_public_names_are_sorted_as_a_reader_looks_for_them():
    def kind(name):
        return (not name.isupper(), not name[0].isupper(), name)

    assert sorted(PUBLIC, key=kind) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_there_and_explained(name):
    value = getattr(flask_llm, name)

    assert name == "llm_bp" or value.__doc__


def test_nothing_public_is_left_off_the_list():
    tree = TREES["flask_llm"]
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert imported == set(PUBLIC)


def test_types_are_shipped():
    assert (ROOT / "flask_llm" / "py.typed").exists()


# What an import costs

PROBE = """
import json, socket, sys, threading

def refuse(*arguments, **options):
    raise AssertionError("the network at import")

socket.socket.connect = refuse
socket.getaddrinfo = refuse
{work}
threads = [thread.name for thread in threading.enumerate()]
print(json.dumps([threads, sorted(sys.modules)]))
"""

IMPORT = "import flask_llm"

SET_UP = """
import flask, flask_llm
app = flask.Flask("probe", instance_path="/nowhere/instance")
app.register_blueprint(flask_llm.llm_bp)
"""


def probe(work):
    code = PROBE.format(work=work)
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=[IMPORT, SET_UP], ids=["import", "set_up"])
def paid(request):
    """What a fresh process has loaded and started."""
    return probe(request.param)


def packages(modules):
    return {name.partition(".")[0] for name in modules}


def test_no_thread_is_started(paid):
    threads, _ = paid

    assert threads == ["MainThread"]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_stranger_is_not_loaded(paid, stranger):
    _, modules = paid

    assert stranger not in modules


@pytest.mark.parametrize("work", [IMPORT, SET_UP], ids=["import", "set_up"])
def test_process_ends_without_an_error(work):
    result = subprocess.run(
        [sys.executable, "-c", work],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "Exception ignored" not in result.stderr


def test_nothing_is_loaded_that_its_libraries_do_not_load_anyway():
    _, beside = probe("import " + ", ".join(LIBRARIES))
    _, loaded = probe(IMPORT)

    more = packages(loaded) - packages(beside)
    assert more - sys.stdlib_module_names == {"flask_llm"}
    assert more - {"flask_llm"} <= STANDARD


def test_emulator_and_commands_are_not_loaded(paid):
    _, modules = paid

    heavy = (
        "flask_llm.testing",
        "flask_llm.emulator",
        "flask_llm.cli.doctor",
        "flask_llm.cli.drawing",
        "flask_llm.usage.migrate",
    )
    assert [name for name in heavy if name in modules] == []

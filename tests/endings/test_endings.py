"""The matrix: whatever a provider does, to whatever call, in whatever wire format."""

import itertools
import tracemalloc
from contextlib import ExitStack, nullcontext
from dataclasses import replace

import pytest
from conftest import MODELS
from sockets import free_port, relaying, serving

from endings import checks, house, ways
from endings.table import ANSWER, CELLS, ENDINGS, PROTOCOLS, WAYS
from flask_llm.emulator import Fault
from flask_llm.errors import ResponseError
from flask_llm.protocols import PROTOCOLS as SPOKEN

GIGABYTE = 1024**3


def test_no_cell_is_left_out():
    wanted = itertools.product([ending.name for ending in ENDINGS], WAYS, PROTOCOLS)

    cells = [(cell.ending.name, cell.way, cell.protocol) for cell in CELLS]

    assert sorted(cells) == sorted(wanted)
    assert len(set(cells)) == len(cells)
    assert PROTOCOLS.keys() == SPOKEN.keys()


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_call_ends_as_named_and_leaves_nothing(
    cell, run, before, caplog, emulator, written
):
    caplog.set_level(1)

    trial = run(cell)

    seen = trial.seen
    checks.ended_as_named(cell, seen)
    checks.said_what_came(cell, seen)
    checks.was_in_time(cell, seen)
    checks.slept(cell, trial.naps)
    checks.wrote_one_row(cell, seen, trial.tables)
    checks.told_once(cell, seen)
    checks.spoke_http(cell, seen)
    checks.left_nothing(trial)
    emulator.reset()
    checks.next_call_is_answered(cell, trial)
    trial.remains.close()
    checks.closed_everything(before)
    checks.hid_the_key(cell, seen, caplog.records, written())
    checks.hid_the_prompt(caplog.records, written())


@pytest.mark.parametrize(
    "cell", [cell for cell in CELLS if cell.ending.passes], ids=str
)
def test_call_recovers_from_what_passes(cell, run):
    trial = run(cell, times=1)

    (row,) = trial.tables["llm_usage"]
    assert (row["status"], row["attempts"], row["error_code"]) == ("ok", 2, None)
    assert (row["input_tokens"], row["output_tokens"]) == (1000, 200)
    assert trial.seen.completion.text == ANSWER.text
    checks.slept(cell, trial.naps)
    checks.budgets_agree(row, trial.tables)


REFUSED = [cell for cell in CELLS if cell.ending.name == "refused"]


@pytest.mark.parametrize("cell", REFUSED, ids=str)
def test_call_recovers_where_somebody_listens_by_then(
    cell, run, emulator, emulator_url
):
    port = free_port()
    place = nullcontext(f"http://127.0.0.1:{port}")
    ending = replace(cell.ending, place=lambda **_: place)
    emulator.script(ANSWER)

    with ExitStack() as opened:
        server = serving(relaying(emulator_url), port=port)
        trial = run(
            replace(cell, ending=ending), nap=lambda _: opened.enter_context(server)
        )

    (row,) = trial.tables["llm_usage"]
    assert (row["status"], row["attempts"], row["error_code"]) == ("ok", 2, None)
    assert trial.seen.completion.text == ANSWER.text


SHARED = [
    cell.slower(2)  # Redis takes some of the time
    for cell in CELLS
    if cell.protocol == "chat_completions" and cell.way != "stream_response"
]


@pytest.mark.parametrize("cell", SHARED, ids=str)
def test_nothing_is_held_in_redis(cell, run, redis_url):
    trial = run(cell, LLM_REDIS_URL=redis_url)

    kept = house.in_redis(redis_url)
    asked = [name for name in kept if name.startswith("llm:flight:")]
    assert [name for name in kept if name.endswith((":held", ":queue"))] == []
    assert [kept[name] for name in asked] in ([], [b"done"])
    assert bool(asked) is (cell.end.error is None)
    assert cell.key not in repr(kept)
    checks.wrote_one_row(cell, trial.seen, trial.tables)
    checks.left_nothing(trial)


@pytest.mark.parametrize("way", ["complete", "stream"])
def test_four_gigabytes_take_no_memory(make_app, emulator, way):
    app = make_app()
    largest = app.extensions["llm"].settings.max_response_bytes
    emulator.script(Fault(huge_bytes=4 * GIGABYTE, content_length=4 * GIGABYTE))
    tracemalloc.start()

    seen = ways.ask(way, app, model=MODELS["openai"], timeout=60)

    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert type(seen.error) is ResponseError
    assert seen.error.code == "answer_too_large"
    assert most < 3 * largest

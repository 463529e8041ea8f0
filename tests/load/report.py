"""What a run has come to: a table in Markdown, and a picture."""

from collections import Counter
from statistics import median

import pygal
from pygal.style import Style

from flask_llm.cli.loadtest import SHARES, percentile
from flask_llm.web.dashboard.drawing import without_scripts

POINTS = 60
"""Of each line of the picture, at most."""

MIB = 1024**2

STYLE = Style(
    background="#ffffff",
    plot_background="#ffffff",
    foreground="#59645f",
    foreground_strong="#25302c",
    foreground_subtle="#e3e6e2",
    guide_stroke_color="#e3e6e2",
    major_guide_stroke_color="#e3e6e2",
    guide_stroke_dasharray="none",
    major_guide_stroke_dasharray="none",
    font_family="system-ui, sans-serif",
    colors=("#0f766e", "#3a6ea5", "#b8527a", "#b0722a"),
)


def table(run):
    """Return the table: what was measured, and how much it was."""
    lines = [f"| {name} | {value} |" for name, value in figures(run)]
    return "\n".join(["| | |", "|---|---|", *lines])


def figures(run):
    """Yield a name and a text for each figure."""
    ended = list(run.ended.values())
    seconds = run.samples[-1].at - run.samples[0].at
    cpu = run.samples[-1].cpu_seconds - run.samples[0].cpu_seconds
    taken = sum(note["duration_ms"] for note in ended)
    queued = sum(note["queued_ms"] for note in ended)
    outcomes = Counter(one["outcome"] for one in run.asked)
    yield "calls", f"{len(ended)}, {len(ended) / seconds:.1f} a second"
    yield "requests to the provider", f"{run.provider['requests']}, tries included"
    yield "rows by status", counted(Counter(row.status for row in run.rows))
    yield "answers that users got", counted(outcomes)
    for path, name in (("/whole", "whole answers"), ("/stream", "streams")):
        good = (one for one in run.asked if one["outcome"] == "200")
        yield name, shares(one["ms"] for one in good if one["what"] == path)
    firsts = (note["first_token_ms"] for note in ended if note["streamed"])
    yield "first piece of a stream", shares(ms for ms in firsts if ms is not None)
    yield "waiting for a slot", f"{queued / taken:.1%} of the calls' time"
    yield "CPU of the workers", f"{1000 * cpu / len(ended):.1f} ms a call"
    early, late = run.warm
    memory = [median(one.rss_bytes for one in half) / MIB for half in (early, late)]
    yield f"memory of {run.workers} workers", "{:.0f}, then {:.0f} MiB".format(*memory)
    for name in ("threads", "sockets"):
        found = [median(getattr(one, name) for one in half) for half in (early, late)]
        yield f"their {name}", "{:.0f}, then {:.0f}".format(*found)
    most = f"{run.claimed_nanos} of {run.limit_nanos} nano-USD"
    yield "most claimed of a full budget", most


def counted(counter):
    """Write how many there are of each, the most first."""
    return ", ".join(f"{count} {name}" for name, count in counter.most_common())


def shares(values):
    """Write the percentiles of some milliseconds."""
    values = sorted(map(round, values))
    if not values:
        return "none"
    return ", ".join(f"p{share} {percentile(values, share)} ms" for share in SHARES)


def draw(run, path):
    """Draw latency and throughput over time as an SVG."""
    first = run.samples[0].at
    length = run.samples[-1].at - first
    step = max(1, length / POINTS)
    slots = [[] for _ in range(int(length // step))]
    for one in run.asked:
        place = int((one["at"] - first) // step)
        if one["outcome"] == "200" and 0 <= place < len(slots):
            slots[place].append(one["ms"] / 1000)
    rates = [len(slot) / step for slot in slots]
    chart = pygal.Line(
        title=f"{len(run.asked)} requests of {run.users} users",
        x_title="seconds",
        x_labels=[f"{place * step:.0f}" for place in range(len(slots))],
        x_labels_major_every=max(1, len(slots) // 10),
        show_minor_x_labels=False,
        legend_at_bottom=True,
        legend_at_bottom_columns=4,
        truncate_label=-1,
        show_dots=False,
        stroke_style={"width": 2},
        width=900,
        height=400,
        js=[],
        style=STYLE,
        range=(0, max((max(slot) for slot in slots if slot), default=1)),
        secondary_range=(0, max(rates, default=1)),
        value_formatter="{:.0f}".format,
    )
    for share in SHARES:
        values = [percentile(sorted(slot), share) if slot else None for slot in slots]
        chart.add(f"p{share}, seconds", values)
    chart.add("answers a second", rates, secondary=True)
    chart.add_xml_filter(without_scripts)
    path.write_bytes(chart.render())

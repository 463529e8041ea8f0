"""Charts as SVG, drawn by pygal, an extra; the only place that loads it.

A chart is a picture of its own and not part of the page: what pygal draws carries a
style sheet, which the page's policy does not let in, and a phone gets another drawing
than a desk, not the same one shrunk until nobody can read it.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from flask_llm.web.dashboard.charts import Chart

CURE = "pip install 'flask-llm[dashboard]'"

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""For a drawing opened by itself: it may be styled and nothing else."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a drawing is, in CSS pixels, and how many times its axis can name."""

    width: int
    height: int
    ticks: int


SIZES = {
    "wide": Size(1060, 300, 10),
    "half": Size(520, 250, 6),
    "narrow": Size(340, 240, 4),
}


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a drawing; those of the page are the same (dashboard.css)."""

    ink: str
    line: str
    card: str
    series: tuple[str, ...]


THEMES = {
    "light": Theme(
        ink="#59645f",
        line="#e3e6e2",
        card="#ffffff",
        series=(
            *("#0f766e", "#3a6ea5", "#b0722a", "#b8527a", "#7a5fb0", "#66801f"),
            "#7f8a85",
        ),
    ),
    "dark": Theme(
        ink="#9fada8",
        line="#2f3a37",
        card="#1b2220",
        series=(
            *("#45b8aa", "#6fa3d8", "#d9a257", "#dd86a6", "#a590dc", "#a3b956"),
            "#83908b",
        ),
    ),
}

FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"

MARKS_MAX = 5


def can_draw() -> bool:
    """Tell whether pygal is installed."""
    return importlib.util.find_spec("pygal") is not None


def draw(chart: Chart, theme: Theme, size: Size) -> bytes:
    """Draw a chart as SVG, without a script and without a word that a user chose."""
    pygal = importlib.import_module("pygal")
    found, step = marks(max(chart.totals, default=0))
    kind = pygal.StackedBar if chart.stacked else pygal.Line
    drawing = kind(
        style=_style(chart, theme),
        css=("file://style.css", "file://graph.css", f"inline:{_css(theme)}"),
        width=size.width,
        height=size.height,
        range=(0, found[-1]),
        y_labels=found,
        value_formatter=lambda value: chart.mark(int(value), step),
        x_labels=[column.tick for column in chart.columns],
        x_labels_major_every=-(-len(chart.columns) // size.ticks),
        show_minor_x_labels=False,
        **_PLAIN,
    )
    drawing.add_xml_filter(without_scripts)
    for series in chart.series:
        drawing.add("", list(series.values))
    svg: bytes = drawing.render()
    return svg


_PLAIN: dict[str, Any] = {
    "js": (),
    "title": None,
    "show_legend": False,
    "truncate_label": -1,
    "margin": 4,
    "margin_top": 10,
    "spacing": 8,
    "dots_size": 2,
    "print_values": False,
    "no_prefix": True,
}


def _style(chart: Chart, theme: Theme) -> Any:
    return importlib.import_module("pygal.style").Style(
        background="transparent",
        plot_background="transparent",
        foreground=theme.ink,
        foreground_strong=theme.ink,
        foreground_subtle=theme.line,
        guide_stroke_color=theme.line,
        guide_stroke_dasharray="none",
        major_guide_stroke_color=theme.line,
        major_guide_stroke_dasharray="none",
        opacity="1",
        opacity_hover="1",
        stroke_opacity="1",
        stroke_width="0" if chart.stacked else "2",
        font_family=FONTS,
        label_font_size=12,
        major_label_font_size=12,
        colors=tuple(theme.series[series.colour] for series in chart.series),
        transition="0s",
    )


def _css(theme: Theme) -> str:
    """Return what pygal's own options do not say."""
    return (
        f".axis .line{{stroke:{theme.line}}}"
        ".axis.x .line{stroke:none}"
        f".bar .rect{{stroke:{theme.card};stroke-width:.75}}"
        ".axis text{font-variant-numeric:tabular-nums}"
    )


def without_scripts(root: Any) -> Any:
    """Leave out pygal's script and what only a script would read, half of the bytes."""
    for parent in root.iter():
        for child in list(parent):
            if str(child.tag).rpartition("}")[2] in {"script", "desc"}:
                parent.remove(child)
    return root


def marks(most: int) -> tuple[list[int], int]:
    """Return the marks of an axis from zero up to a value, and how far they are apart.

    They are 1, 2 or 5 times a power of ten apart, and few.
    """
    step = 1
    while step * (MARKS_MAX - 1) < most:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return list(range(0, max(most, 1) + step, step)), step

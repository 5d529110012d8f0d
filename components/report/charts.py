"""Vega-Lite specifications of the charts that the report uses.

Colours are the page's CSS variables, so that a figure follows light and dark mode without
being drawn anew; scales with steps take a class of the page per step for the same reason.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

Spec: TypeAlias = Mapping[str, Any]
Row: TypeAlias = Mapping[str, Any]

US_STATES = "us_states"
"""The outline in `assets/`; see LICENSES.txt there for its source."""

SERIES: tuple[str, ...] = tuple(f"var(--c{number})" for number in range(1, 9))
STEPS: tuple[str, ...] = tuple(f"var(--s{number})" for number in range(1, 7))
PERCENT = ".1~%"
WHOLE = ",.0f"

_DASHES: tuple[tuple[int, ...], ...] = ((1, 0), (6, 3), (2, 2), (8, 2, 2, 2), (4, 4))
_SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)
_CLASS = "class"
_BOX = "M-2.1,-.6H2.1V.6H-2.1Z"
_BAR_STEP = 22
_INK, _MUTED = "var(--ink)", "var(--muted)"

THEME: Mapping[str, Any] = {
    "background": "transparent",
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
    "view": {"stroke": "transparent"},
    "axis": {
        "labelColor": _MUTED,
        "titleColor": _MUTED,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 12,
        "gridColor": "var(--grid)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        # Long labels leave a narrow screen to what they name; the width is the plot's alone.
        "labelLimit": {"expr": "max(95, min(180, 0.62 * width))"},
        "labelFlush": False,
        "labelSeparation": 5,
    },
    "axisX": {"grid": False},
    "legend": {
        "labelColor": _MUTED,
        "titleColor": _MUTED,
        "titleFontWeight": "normal",
        "orient": "top",
        "labelFontSize": 11,
        "titleFontSize": 12,
        "symbolStrokeWidth": 2,
        "columnPadding": 8,
    },
    "header": {"labelColor": _MUTED, "titleColor": _MUTED},
    "bar": {"color": SERIES[0], "cornerRadiusEnd": 2},
    "line": {"color": SERIES[0]},
    "point": {"color": SERIES[0], "filled": True},
    "rule": {"color": _MUTED},
    "text": {"color": _INK},
    "range": {"category": list(SERIES)},
}


@dataclasses.dataclass(frozen=True)
class Channel:
    """A column of the data and how it is drawn.

    Attributes:
      field: its key in the rows.
      title: of axis, legend and tooltip.
      kind: Vega-Lite's type; times are milliseconds since 1970, shown in UTC.
      format: d3's format of numbers or times.
      sort: order of categories; the data's own if None.
      zero: whether a quantitative axis starts at 0.
      log: whether it is logarithmic.
      domain: first and last value, or the categories of a series.
      values: where the axis has ticks, if not where Vega puts them.
    """

    field: str
    title: str
    kind: Literal["quantitative", "temporal", "nominal", "ordinal"] = "quantitative"
    format: str | None = None
    sort: Sequence[Any] | None = None
    zero: bool = True
    log: bool = False
    domain: Sequence[Any] | None = None
    values: Sequence[Any] | None = None

    def axis(self, **changes: object) -> dict[str, Any]:
        """Returns the encoding of a position channel."""
        channel: dict[str, Any] = {"field": self.field, "type": self.kind, "title": self.title}
        axis: dict[str, Any] = {}
        if self.format:
            axis["format"] = self.format
        if self.values is not None:
            axis["values"] = list(self.values)
        if self.kind == "quantitative":
            scale: dict[str, Any] = {"type": "symlog"} if self.log else {"zero": self.zero}
            if self.domain is not None:
                scale["domain"] = list(self.domain)
            channel["scale"] = scale
        elif self.kind == "temporal":
            channel["scale"] = {"type": "utc"}
        else:
            channel["sort"] = None if self.sort is None else list(self.sort)
            axis["labelAngle"] = 0
            axis["labelOverlap"] = "greedy"
        return {**channel, "axis": axis, **changes}

    def tip(self) -> dict[str, Any]:
        """Returns the line of the tooltip."""
        tip = {"field": self.field, "type": self.kind, "title": self.title}
        return {**tip, "format": self.format} if self.format else tip


def _spec(rows: Sequence[Row], height: int, **parts: object) -> Spec:
    return {
        "data": {"values": list(rows)},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        # The last label of an axis reaches beyond its end.
        "padding": {"left": 4, "top": 4, "bottom": 4, "right": 14},
        **parts,
    }


def _color(series: Channel | None) -> dict[str, Any]:
    if series is None:
        return {}
    domain = list(series.domain or ())
    return {
        "color": {
            "field": series.field,
            "type": "nominal",
            "title": series.title or None,
            "scale": {"domain": domain, "range": list(SERIES[: len(domain)])},
        }
    }


def _tips(*channels: Channel | None) -> list[dict[str, Any]]:
    return [channel.tip() for channel in channels if channel is not None]


def columns(
    rows: Sequence[Row],
    x: Channel,
    y: Channel,
    series: Channel | None = None,
    *,
    height: int = 220,
    more: Sequence[Channel] = (),
) -> Spec:
    """Upright bars; side by side where there is a series."""
    encoding = {"x": x.axis(), "y": y.axis(), **_color(series)}
    if series is not None:
        encoding["xOffset"] = {"field": series.field, "sort": list(series.domain or ())}
    encoding["tooltip"] = _tips(x, series, y, *more)
    return _spec(rows, height, mark={"type": "bar"}, encoding=encoding)


def bars(
    rows: Sequence[Row],
    y: Channel,
    x: Channel,
    series: Channel | None = None,
    *,
    more: Sequence[Channel] = (),
) -> Spec:
    """Lying bars with their labels on the left, as high as there are categories."""
    categories = {row[y.field] for row in rows}
    per_category = len(series.domain or ()) if series else 1
    encoding = {"y": y.axis(title=None), "x": x.axis(), **_color(series)}
    if series is not None:
        encoding["yOffset"] = {"field": series.field, "sort": list(series.domain or ())}
    encoding["tooltip"] = _tips(y, series, x, *more)
    step = _BAR_STEP if per_category == 1 else 10 * per_category + 6
    height = step * max(len(categories), 1) + (70 if series else 44)
    return _spec(rows, height, mark={"type": "bar"}, encoding=encoding)


def stacked_bars(rows: Sequence[Row], y: Channel, x: Channel, steps: Channel) -> Spec:
    """Lying bars of 100 %, cut into ordered steps such as stars."""
    domain = list(steps.domain or ())
    count = len({row[y.field] for row in rows})
    encoding = {
        "y": y.axis(title=None),
        "x": x.axis(stack="normalize"),
        "color": {
            "field": steps.field,
            "type": "ordinal",
            "title": steps.title,
            "sort": domain,
            "scale": {"domain": domain, "range": _spread(len(domain))},
        },
        "order": {"field": steps.field},
        "tooltip": _tips(y, steps, x),
    }
    mark = {"type": "bar", "cornerRadiusEnd": 0}
    return _spec(rows, _BAR_STEP * count + 80, mark=mark, encoding=encoding)


def _spread(count: int) -> list[str]:
    """Returns `count` colours from the lightest step to the darkest."""
    last = len(STEPS) - 1
    return [STEPS[round(number * last / max(count - 1, 1))] for number in range(count)]


def lines(
    rows: Sequence[Row],
    x: Channel,
    y: Channel,
    series: Channel | None = None,
    *,
    height: int = 220,
    step: bool = False,
    points: bool = False,
) -> Spec:
    """One line per series, told apart by colour and by dashes."""
    encoding = {"x": x.axis(), "y": y.axis(), **_color(series), "tooltip": _tips(x, series, y)}
    if series is not None:
        domain = list(series.domain or ())
        dashes = [list(dash) for dash in _DASHES[: len(domain)]]
        # Else points make the legend's symbols dots with dashed edges.
        legend = {"symbolType": "stroke", "symbolSize": 300, "symbolFillColor": "transparent"}
        encoding["color"]["legend"] = legend
        encoding["strokeDash"] = {
            "field": series.field,
            "type": "nominal",
            "title": series.title or None,
            "scale": {"domain": domain, "range": dashes},
            "legend": legend,
        }
    mark: dict[str, Any] = {"type": "line", "strokeWidth": 2}
    if step:
        mark["interpolate"] = "step-after"
    if points:
        mark["point"] = {"filled": True, "size": 36}
    return _spec(rows, height, mark=mark, encoding=encoding)


def scatter(
    rows: Sequence[Row],
    x: Channel,
    y: Channel,
    series: Channel | None = None,
    *,
    tips: Sequence[Channel] = (),
    height: int = 260,
    diagonal: bool = False,
    size: int = 30,
) -> Spec:
    """Points; a click on the legend leaves one series alone."""
    encoding: dict[str, Any] = {
        "x": x.axis(),
        "y": y.axis(),
        **_color(series),
        "tooltip": _tips(*(tips or (x, y))),
    }
    mark = {"type": "point", "filled": True, "size": size, "opacity": 0.75}
    # Hundreds of points read out one by one help nobody; the figure has a description.
    layer: dict[str, Any] = {"mark": {**mark, "aria": len(rows) <= 60}, "encoding": encoding}
    if series is not None:
        domain = list(series.domain or ())
        encoding["shape"] = {
            "field": series.field,
            "type": "nominal",
            "title": series.title or None,
            "scale": {"domain": domain, "range": list(_SHAPES[: len(domain)])},
        }
        encoding["opacity"] = {"condition": {"param": "only", "value": 0.8}, "value": 0.04}
        select = {"type": "point", "fields": [series.field]}
        layer["params"] = [{"name": "only", "select": select, "bind": "legend"}]
    if not diagonal:
        return _spec(rows, height, **layer)
    low, high = (x.domain or (0, 1))[0], (x.domain or (0, 1))[-1]
    ends = [{x.field: low, y.field: low}, {x.field: high, y.field: high}]
    line = {
        "data": {"values": ends},
        "mark": {"type": "line", "strokeDash": [4, 4], "color": _MUTED, "strokeWidth": 1},
        "encoding": {"x": x.axis(), "y": y.axis()},
    }
    return _spec(rows, height, layer=[line, layer])


def intervals(
    rows: Sequence[Row],
    y: Channel,
    x: Channel,
    low: str,
    high: str,
    *,
    reference: float | None = None,
    more: Sequence[Channel] = (),
) -> Spec:
    """A dot per category with its interval, and a line at the value of all."""
    count = len({row[y.field] for row in rows})
    bar = {
        "mark": {"type": "rule", "color": SERIES[0], "strokeWidth": 2, "opacity": 0.55},
        "encoding": {"y": y.axis(title=None), "x": x.axis(field=low), "x2": {"field": high}},
    }
    dot = {
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
        "encoding": {
            "y": y.axis(title=None),
            "x": x.axis(),
            "tooltip": _tips(y, x, *more),
        },
    }
    layers: list[dict[str, Any]] = [bar, dot]
    if reference is not None:
        layers.insert(
            0,
            {
                "data": {"values": [{"all": reference}]},
                "mark": {"type": "rule", "strokeDash": [4, 4]},
                "encoding": {"x": x.axis(field="all")},
            },
        )
    return _spec(rows, _BAR_STEP * max(count, 1) + 44, layer=layers)


def heat(
    rows: Sequence[Row],
    x: Channel,
    y: Channel,
    value: Channel,
    *,
    height: int = 240,
    doubling: bool = False,
) -> Spec:
    """A grid of cells coloured in equal steps of a value.

    Args:
      rows: one per cell.
      x: the columns.
      y: the rows.
      value: what the cells are coloured by.
      height: in pixels.
      doubling: each step begins at twice the value of the one before, up to half the largest:
        for values most of which are small beside a few.
    """
    color: dict[str, Any] = {
        "field": value.field,
        "type": "quantitative",
        "title": value.title,
        "scale": {"type": "quantize", "range": list(STEPS), "nice": True, "zero": False},
        "legend": {"format": value.format or ".2~f", "gradientLength": 260},
    }
    if doubling:
        labels, rows = _doubling(rows, value.field)
        color = {
            "field": "step",
            "type": "ordinal",
            "title": value.title,
            "scale": {"domain": labels, "range": list(STEPS)},
            "legend": {"symbolType": "square"},
        }
    encoding = {"x": x.axis(), "y": y.axis(), "color": color, "tooltip": _tips(y, x, value)}
    return _spec(rows, height, mark={"type": "rect", "cornerRadius": 2}, encoding=encoding)


def _doubling(rows: Sequence[Row], field: str) -> tuple[list[str], list[Row]]:
    """Returns the steps in words, and the rows with the one that each is in."""
    largest = max((row[field] for row in rows), default=1.0)
    limits = [largest / 2**power for power in range(len(STEPS) - 1, 0, -1)]
    labels = [f"below {limits[0]:.2g}", *(f"from {limit:.2g}" for limit in limits)]
    return labels, [
        {**row, "step": labels[sum(row[field] >= limit for limit in limits)]} for row in rows
    ]


def us_map(rows: Sequence[Row], name: str, value: Channel, *, more: Sequence[Channel] = ()) -> Spec:
    """The states of the US, coloured by quantiles of a value; grey where there is none.

    Args:
      rows: one per state.
      name: the column that holds the state's name.
      value: what they are coloured by; its format is one that Python knows as well.
      more: further columns for the tooltip.
    """
    fields = [value.field, *(channel.field for channel in more), _CLASS]
    labels, classes = _classes([row[value.field] for row in rows], value.format or WHOLE)
    classed = [{**row, _CLASS: labels[n]} for row, n in zip(rows, classes, strict=True)]
    known = {
        "test": f"isValid(datum['{_CLASS}'])",
        "field": _CLASS,
        "type": "ordinal",
        "title": value.title,
        "sort": labels,
        "scale": {"domain": labels, "range": _spread(len(labels))},
        "legend": {"symbolType": "square", "columns": 3},
    }
    outline = {"type": "geoshape", "stroke": "var(--card)", "strokeWidth": 0.8}
    state = Channel("properties.name", "State", "nominal")
    return {
        "data": {"map": US_STATES, "format": {"type": "topojson", "feature": "states"}},
        "width": "container",
        "height": 330,
        "autosize": {"type": "fit", "contains": "padding"},
        "projection": {"type": "identity"},
        "transform": [
            {
                "lookup": "properties.name",
                "from": {"data": {"values": classed}, "key": name, "fields": fields},
            }
        ],
        "mark": outline,
        "encoding": {
            "color": {"condition": known, "value": "var(--none)"},
            "tooltip": _tips(state, value, *more),
        },
    }


def _classes(values: Sequence[float], form: str) -> tuple[list[str], list[int]]:
    """Returns the ranges of classes with about as many values each, and each value's class.

    Equal values are in one class, so there may be fewer classes than steps.
    """
    ordered = sorted(values)
    first = {value: len(ordered) - place for place, value in enumerate(reversed(ordered), 1)}
    ranks = [first[value] * len(STEPS) // max(len(ordered), 1) for value in values]
    held: dict[int, list[float]] = {}
    for value, rank in zip(values, ranks, strict=True):
        held.setdefault(rank, []).append(value)
    labels: dict[int, str] = {}
    for rank in sorted(held):
        low, high = (format(end(held[rank]), form) for end in (min, max))
        labels[rank] = low if low == high else f"{low}–{high}"
    unique = list(dict.fromkeys(labels.values()))
    return unique, [unique.index(labels[rank]) for rank in ranks]


def graph(nodes: Sequence[Row], edges: Sequence[Row], kinds: Sequence[str], *, levels: int) -> Spec:
    """Named boxes from top to bottom with lines between them.

    Args:
      nodes: `x` (0 to 1), `y` (level, 0 at the top), `name`, `detail` and `kind` each.
      edges: `x`, `y`, `x2`, `y2` each.
      kinds: the kinds of nodes, which are told apart by colour and, from the second on, dashes.
      levels: number of levels.
    """
    x = {"field": "x", "type": "quantitative", "axis": None, "scale": {"domain": [0, 1]}}
    y = {
        "field": "y",
        "type": "quantitative",
        "axis": None,
        "scale": {"domain": [levels - 0.6, -0.4], "nice": False, "zero": False},
    }
    colors = {"domain": list(kinds), "range": list(SERIES[: len(kinds)])}
    dashes = [list(dash) for dash in _DASHES[: len(kinds)]]
    kind = {"field": "kind", "type": "nominal", "title": None}
    tooltip = [
        {"field": "name", "type": "nominal", "title": "Component"},
        {"field": "detail", "type": "nominal", "title": "Made"},
    ]
    layers = [
        {
            "data": {"values": list(edges)},
            "mark": {"type": "rule", "opacity": 0.45, "aria": False},
            "encoding": {"x": x, "y": y, "x2": {"field": "x2"}, "y2": {"field": "y2"}},
        },
        {
            "mark": {
                "type": "point",
                "shape": _BOX,
                "size": 2300,
                "fill": "var(--card)",
                "strokeWidth": 2,
                "opacity": 1,
            },
            "encoding": {
                "x": x,
                "y": y,
                "stroke": {**kind, "scale": colors, "legend": {"symbolType": "square"}},
                "strokeDash": {**kind, "scale": {"domain": list(kinds), "range": dashes}},
                "tooltip": tooltip,
            },
        },
        {
            "mark": {"type": "text", "fontSize": 9.5, "aria": False},
            "encoding": {"x": x, "y": y, "text": {"field": "name"}, "tooltip": tooltip},
        },
    ]
    return _spec(nodes, 62 * levels + 40, layer=layers)


def outlines(specs: Mapping[str, Spec]) -> dict[str, Any]:
    """Returns the maps that any of the specifications draws on, by name."""
    needed = {spec["data"]["map"] for spec in specs.values() if "map" in spec.get("data", ())}
    folder = Path(__file__).resolve().parent / "assets"
    return {
        name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in sorted(needed)
    }

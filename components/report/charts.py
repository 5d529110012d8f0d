"""The kinds of charts that the report uses, as Vega-Lite specifications built with Altair.

A chart is made from `rows`: values by column. A column's title names its axis, and the number
format of the column's table cells is that of its tooltip. A tooltip has the first values of a row.
Colours, fonts and axes of all charts are in `assets/page.js`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import altair as alt

from components.report.page import Row, Spec, asset, format_of

Kind: TypeAlias = Literal["quantitative", "nominal", "ordinal", "temporal"]

_AnyChart: TypeAlias = alt.Chart | alt.LayerChart | alt.FacetChart
_DATA = alt.NamedData("rows")
_SERIES, _VALUE = "series", "value"
_TIPS = 8
"""Columns in a tooltip."""
_STEP = 22
"""Height of a horizontal bar with the space below it, in pixels."""
_HEIGHT = 220
_LARGE = 10_000
"""Numbers from which on an axis has thousands as k."""

STEPS: tuple[str, ...] = tuple(f"var(--s{number})" for number in range(1, 7))
"""Colours of ordered classes, from light to dark: variables of the page, for its dark mode."""


def specification(chart: _AnyChart, rows: Sequence[Row], height: int) -> Spec:
    """Returns the Vega-Lite specification of a chart over `alt.NamedData("rows")`."""
    spec = chart.properties(width="container", height=height).to_dict()
    # The page has its own configuration; embedded rows need no name.
    for key in ("$schema", "config"):
        spec.pop(key, None)
    return {**spec, "data": {"values": list(rows)}}


def channel(base: type[Any], rows: Sequence[Row], column: str, **options: object) -> Any:  # noqa: ANN401 - one of Altair's channels
    """Returns a column as a channel such as `alt.X`, typed by its values unless `type` is given."""
    first = next((row[column] for row in rows if row[column] is not None), "")
    kind = options.pop("type", None)
    kind = kind or ("quantitative" if isinstance(first, int | float) else "nominal")
    settings = {"field": _field(column), "type": kind, "title": column, **options}
    if base is alt.Tooltip:
        form = {"quantitative": _number_format(rows, column), "temporal": "%Y-%m-%d"}.get(str(kind))
        settings |= {"format": form} if form else {}
    elif kind == "quantitative":
        settings["axis"] = _axis(rows, column)
    elif kind != "temporal":
        settings.setdefault("sort", None)
    return base(**settings)


def _field(column: str) -> str:
    """Returns a column's name as a field of Vega-Lite, in which dots and brackets are paths."""
    return re.sub(r"([.\[\]])", r"\\\1", column)


def _axis(rows: Sequence[Row], column: str) -> alt.Axis:
    form = format_of(column, {})
    if form is None or form.endswith("%"):
        large = any(abs(row[column]) >= _LARGE for row in rows if row[column] is not None)
        form = "~%" if form else "~s" if large else "~f"
    return alt.Axis(format=form)


def _number_format(rows: Sequence[Row], column: str) -> str:
    whole = all(isinstance(row[column], int) for row in rows if row[column] is not None)
    return format_of(column, {}) or (",d" if whole else ",.2f")


def _tooltips(rows: Sequence[Row], times: str = "") -> list[alt.Tooltip]:
    kinds = {times: "temporal"}
    first = list(rows[0])[:_TIPS]
    return [channel(alt.Tooltip, rows, column, type=kinds.get(column)) for column in first]


def _folded(columns: Sequence[str]) -> alt.Chart:
    """Returns a chart over rows with a line per column of the original ones."""
    fields: list[str | alt.FieldName] = [_field(name) for name in columns]
    return alt.Chart(_DATA).transform_fold(fields, as_=[_SERIES, _VALUE])


def _value(base: type[Any], rows: Sequence[Row], columns: Sequence[str], title: str) -> Any:  # noqa: ANN401 - base()
    return base(field=_VALUE, type="quantitative", title=title, axis=_axis(rows, columns[0]))


def _named(field: str, names: Sequence[str], **options: object) -> dict[str, Any]:
    """Returns the settings of colours, shapes or dashes that distinguish these names."""
    scale = alt.Scale(domain=list(names))
    return {"field": field, "type": "nominal", "title": None, "scale": scale, **options}


def bars(
    rows: Sequence[Row],
    labels: str,
    values: str | Sequence[str],
    *,
    upright: bool = False,
    title: str = "",
    log: bool = False,
) -> Spec:
    """Returns horizontal bars, each with its value at its end, or upright ones without.

    Bars of several columns of values are side by side, over an axis of that title. Logarithmic
    lengths keep one large value from hiding the others.
    """
    base, length, offset = (alt.X, alt.Y, alt.XOffset) if upright else (alt.Y, alt.X, alt.YOffset)
    shown = {} if upright else {"title": None}
    named, tips = channel(base, rows, labels, type="ordinal", **shown), _tooltips(rows)
    if not isinstance(values, str):
        names = list(values)
        chart = _folded(names).mark_bar().encode(named, _value(length, rows, names, title))
        color = alt.Color(**_named(_SERIES, names, sort=names))
        chart = chart.encode(color, offset(field=_SERIES, sort=names), tooltip=tips)
        height = _HEIGHT if upright else (10 * len(names) + 6) * len(rows) + 70
        return specification(chart, rows, height)
    scale = alt.Scale(type="symlog") if log else alt.Scale()
    drawn = alt.Chart().encode(named, channel(length, rows, values, scale=scale), tooltip=tips)
    if upright:
        return specification(drawn.mark_bar().properties(data=_DATA), rows, _HEIGHT)
    form = _number_format(rows, values)
    text = alt.Text(field=_field(values), type="quantitative", format=form)
    layers = drawn.mark_bar(), drawn.mark_text(align="left", dx=4, aria=False).encode(text)
    return specification(alt.layer(*layers, data=_DATA), rows, _STEP * len(rows) + 44)


def stacked_bars(rows: Sequence[Row], labels: str, parts: Sequence[str]) -> Spec:
    """Returns horizontal bars of 100 %, cut into ordered parts: columns with shares of 0 to 1."""
    names, last = list(parts), len(STEPS) - 1
    colors = [STEPS[round(n * last / max(len(names) - 1, 1))] for n in range(len(names))]
    scale = alt.Scale(domain=names, range=colors)
    chart = _folded(names).transform_calculate(place=f"indexof({names!r}, datum.{_SERIES})")
    chart = chart.mark_bar(cornerRadiusEnd=0).encode(
        y=channel(alt.Y, rows, labels, type="nominal", title=None),
        x=alt.X(f"{_VALUE}:Q", stack="normalize", title="share", axis=alt.Axis(format="~%")),
        color=alt.Color(field=_SERIES, type="ordinal", title=None, sort=names, scale=scale),
        order=alt.Order("place:Q"),
        tooltip=_tooltips(rows),
    )
    return specification(chart, rows, _STEP * len(rows) + 80)


def lines(
    rows: Sequence[Row],
    x: str,
    y: str | Sequence[str],
    *,
    title: str = "",
    series: str = "",
    kind: Kind = "quantitative",
) -> Spec:
    """Returns lines that differ in colour and in dashes, over an `x` of that kind.

    Of several columns `y` there is a line each, over an axis of that title. Of one, `series` is
    the column that distinguishes several lines; they hold each value until the next one, as the
    bars of a histogram do.
    """
    mark: dict[str, Any] = {"point": len(rows) <= 20, "invalid": "filter"}
    if series:
        mark = {"interpolate": "step-after"}
    scales = {"quantitative": alt.Scale(zero=False), "temporal": alt.Scale(type="utc")}
    across = channel(alt.X, rows, x, type=kind, scale=scales.get(kind, alt.Undefined))
    if isinstance(y, str):
        chart, field = alt.Chart(_DATA), series
        up = channel(alt.Y, rows, y, scale=alt.Scale(zero=bool(series)))
        names = list(dict.fromkeys(row[series] for row in rows)) if series else []
    else:
        chart, up, names, field = _folded(y), _value(alt.Y, rows, y, title), list(y), _SERIES
    encoding = {"x": across, "y": up, "tooltip": _tooltips(rows, x if kind == "temporal" else "")}
    if names:
        # Points would make the legend's symbols dots with dashed edges.
        legend = alt.Legend(symbolType="stroke", symbolSize=300, symbolFillColor="transparent")
        same = _named(field, names, legend=legend)
        encoding |= {"color": alt.Color(**same), "strokeDash": alt.StrokeDash(**same)}
    return specification(chart.mark_line(**mark).encode(**encoding), rows, _HEIGHT)


def intervals(rows: Sequence[Row], y: str, x: str, ends: tuple[str, str], reference: float) -> Spec:
    """Returns a dot per label `y` with the interval between its `ends`, and a dashed line."""
    base = alt.Chart().encode(y=channel(alt.Y, rows, y, type="nominal", title=None))
    same: dict[str, Any] = {"title": f"{x} and 95 % interval", "scale": alt.Scale(zero=False)}
    low, high = ends
    start, value = channel(alt.X, rows, low, **same), channel(alt.X, rows, x, **same)
    layers = (
        alt.Chart().mark_rule(strokeDash=[4, 4]).encode(x=alt.datum(reference)),
        base.mark_rule(strokeWidth=2, opacity=0.55).encode(x=start, x2=alt.X2(field=high)),
        base.mark_point(size=70, opacity=1).encode(x=value, tooltip=_tooltips(rows)),
    )
    return specification(alt.layer(*layers, data=_DATA), rows, _STEP * len(rows) + 44)


def points(rows: Sequence[Row], x: str, y: str, series: str = "") -> Spec:
    """Returns points of a colour and shape per series; a click on the legend leaves one alone."""
    scale = alt.Scale(zero=False)
    # Hundreds of points read out one by one help nobody; the chart has a description.
    chart = alt.Chart(_DATA).mark_point(size=40, opacity=0.75, aria=False)
    across, up = channel(alt.X, rows, x, scale=scale), channel(alt.Y, rows, y, scale=scale)
    chart = chart.encode(across, up, tooltip=_tooltips(rows))
    if series:
        same = _named(series, list(dict.fromkeys(row[series] for row in rows)))
        only = alt.selection_point(name="only", fields=[series], bind="legend")
        faint = alt.condition(only, alt.value(0.8), alt.value(0.04))
        chart = chart.encode(alt.Color(**same), alt.Shape(**same), opacity=faint).add_params(only)
    return specification(chart, rows, 520)


def _steps(rows: Sequence[Row], value: str) -> alt.Color:
    """Returns colours by quantiles of a value, so that a few large ones do not hide the others."""
    form = _number_format(rows, value)
    legend = alt.Legend(format=form, gradientLength=260, labelOverlap="greedy")
    scale = alt.Scale(type="quantile", range=list(STEPS))
    return alt.Color(field=value, type="quantitative", title=value, scale=scale, legend=legend)


def heat(rows: Sequence[Row], x: str, y: str, value: str) -> Spec:
    """Returns a grid with a cell per row, coloured by quantiles of a value."""
    across = channel(alt.X, rows, x, type="nominal")
    if max(len(str(row[x])) for row in rows) > 2:
        across.axis = alt.Axis(labelAngle=-45, labelOverlap=False)
    up = channel(alt.Y, rows, y, type="nominal", title=None)
    chart = alt.Chart(_DATA).mark_rect(cornerRadius=2)
    chart = chart.encode(across, up, _steps(rows, value), tooltip=_tooltips(rows))
    return specification(chart, rows, 26 * len({row[y] for row in rows}) + 150)


def us_map(rows: Sequence[Row], state: str, value: str) -> Spec:
    """Returns the states of the US coloured by quantiles of a value; grey where there is none."""
    found = alt.InlineData(values=list(rows))
    looked_up = alt.LookupData(data=found, key=state, fields=list(rows[0])[:_TIPS])
    chart = alt.Chart(_DATA).mark_geoshape(stroke="var(--card)", strokeWidth=0.8, invalid="show")
    chart = chart.transform_lookup(lookup="properties.name", from_=looked_up).project("identity")
    name = alt.Tooltip(field="properties.name", type="nominal", title=state)
    chart = chart.encode(_steps(rows, value), tooltip=[name, *_tooltips(rows)[1:]])
    outline = json.loads(asset("us_states.json"))
    data = {"values": outline, "format": {"type": "topojson", "feature": "states"}}
    return {**specification(chart, (), 330), "data": data}

"""The kinds of charts that the report uses, as Vega-Lite specifications built with Altair.

A chart is made from `rows`: values by column. `formats` are number formats of columns, `height` is
in pixels. A column's title names its axis, and the number format of the column's table cells is
that of its axis and tooltip. A tooltip has the first values of a row. Colours, fonts and axes of
all charts are in `assets/page.js`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import altair as alt

from components.report.page import Row, Spec, format_of

Kind: TypeAlias = Literal["quantitative", "nominal", "ordinal", "temporal"]
Formats: TypeAlias = Mapping[str, str]

_AnyChart: TypeAlias = alt.Chart | alt.LayerChart | alt.FacetChart
_DATA = alt.NamedData("rows")
_SERIES, _VALUE = "series", "value"
_NONE: Formats = {}
_TIPS = 8
"""Columns in a tooltip."""
_STEP = 22
"""Height of a horizontal bar with the space below it, in pixels."""

STEPS: tuple[str, ...] = tuple(f"var(--s{number})" for number in range(1, 7))
"""Colours of ordered classes, from light to dark: variables of the page, for its dark mode."""


def specification(chart: _AnyChart, rows: Sequence[Row], height: int) -> Spec:
    """Returns the Vega-Lite specification of a chart over `alt.NamedData("rows")`.

    Raises:
      altair.SchemaValidationError: the chart is not valid Vega-Lite.
    """
    spec = chart.properties(width="container", height=height).to_dict()
    # The page has its own configuration; embedded rows need no name.
    for key in ("$schema", "config"):
        spec.pop(key, None)
    return {**spec, "data": {"values": list(rows)}}


def channel(
    base: type[Any], rows: Sequence[Row], column: str, formats: Formats = _NONE, **options: object
) -> Any:  # noqa: ANN401 - one of Altair's channels
    """Returns a column as one of Altair's channels, typed by its values.

    Args:
      base: `alt.X`, `alt.Y`, `alt.Tooltip` and the like.
      column: the column.
      options: further arguments of the channel.
    """
    kind = str(options.pop("type", None) or _kind(rows, column))
    form = format_of(column, formats) if kind == "quantitative" else formats.get(column)
    field = _field(column)
    settings: dict[str, Any] = {"field": field, "type": kind, "title": column, **options}
    if base is alt.Tooltip:
        # Numbers that stand for times have the format of their axis.
        is_time = "%Y" in formats.get(column, "")
        settings |= {"type": "temporal"} if is_time else {}
        if kind == "quantitative":
            settings["format"] = _number_format(rows, column, formats)
    else:
        settings.setdefault("axis", _axis(kind, form))
        if kind in ("nominal", "ordinal"):
            settings.setdefault("sort", None)
    return base(**settings)


def _field(column: str) -> str:
    """Returns a column's name as a field of Vega-Lite, in which dots and brackets are paths."""
    return re.sub(r"([.\[\]])", r"\\\1", column)


def _axis(kind: str, form: str | None) -> alt.Axis:
    if kind == "quantitative":
        form = {".1%": "~%", None: "~s"}.get(form, form)
    return alt.Axis(format=form) if form else alt.Axis()


def _kind(rows: Sequence[Row], column: str) -> Kind:
    first = next((row[column] for row in rows if row[column] is not None), "")
    return "quantitative" if isinstance(first, int | float) else "nominal"


def _number_format(rows: Sequence[Row], column: str, formats: Formats) -> str:
    """Returns the format of single values of a column."""
    return format_of(column, formats) or (",d" if _whole(rows, column) else ",.2f")


def _whole(rows: Sequence[Row], column: str) -> bool:
    return all(isinstance(row[column], int) for row in rows if row[column] is not None)


def tooltips(rows: Sequence[Row], formats: Formats = _NONE) -> list[alt.Tooltip]:
    """Returns a tooltip with the first columns."""
    columns = list(rows[0])[:_TIPS]
    return [channel(alt.Tooltip, rows, column, formats) for column in columns]


def _series(names: Sequence[str]) -> alt.Color:
    """Returns the colours of series, in their order."""
    scale = alt.Scale(domain=list(names))
    return alt.Color(field=_SERIES, type="nominal", title=None, sort=list(names), scale=scale)


def _folded(columns: Sequence[str]) -> alt.Chart:
    """Returns a chart over rows with a line per column of the original ones."""
    return alt.Chart(_DATA).transform_fold(
        [_field(name) for name in columns], as_=[_SERIES, _VALUE]
    )


def _value(base: type[Any], columns: Sequence[str], title: str, formats: Formats) -> Any:  # noqa: ANN401 - base()
    axis = _axis("quantitative", format_of(columns[0], formats))
    return base(field=_VALUE, type="quantitative", title=title, axis=axis)


def bars(
    rows: Sequence[Row],
    labels: str,
    values: str | Sequence[str],
    *,
    upright: bool = False,
    title: str = "",
    formats: Formats = _NONE,
    log: bool = False,
    height: int = 220,
) -> Spec:
    """Returns horizontal bars, each with its value at its end, or upright ones without.

    Args:
      labels: the column with the bars' labels.
      values: the column with their lengths; of several, side by side over an axis of that title.
      upright: whether they are upright; `height` is that of upright bars.
      log: whether lengths are logarithmic, so that one large value does not hide the others.
    """
    base, length, offset = (alt.X, alt.Y, alt.XOffset) if upright else (alt.Y, alt.X, alt.YOffset)
    shown = {} if upright else {"title": None}
    named = channel(base, rows, labels, formats, type="ordinal", **shown)
    tips = tooltips(rows, formats)
    if not isinstance(values, str):
        chart = _folded(values).mark_bar()
        chart = chart.encode(named, _value(length, values, title, formats), tooltip=tips)
        chart = chart.encode(offset(field=_SERIES, sort=list(values)), _series(values))
        return specification(
            chart, rows, height if upright else (10 * len(values) + 6) * len(rows) + 70
        )
    scale = alt.Scale(type="symlog") if log else alt.Scale()
    drawn = alt.Chart().encode(
        named, channel(length, rows, values, formats, scale=scale), tooltip=tips
    )
    if upright:
        return specification(drawn.mark_bar(), rows, height)
    form = _number_format(rows, values, formats)
    text = alt.Text(field=_field(values), type="quantitative", format=form)
    layers = drawn.mark_bar(), drawn.mark_text(align="left", dx=4, aria=False).encode(text)
    return specification(alt.layer(*layers, data=_DATA), rows, _STEP * len(rows) + 44)


def stacked_bars(rows: Sequence[Row], y: str, parts: Sequence[str]) -> Spec:
    """Returns horizontal bars of 100 %, cut into ordered parts: columns with shares of 0 to 1."""
    last = len(STEPS) - 1
    colors = [STEPS[round(n * last / max(len(parts) - 1, 1))] for n in range(len(parts))]
    chart = (
        _folded(parts)
        .transform_calculate(place=f"indexof({list(parts)!r}, datum.{_SERIES})")
        .mark_bar(cornerRadiusEnd=0)
        .encode(
            y=channel(alt.Y, rows, y, type="nominal", title=None),
            x=alt.X(f"{_VALUE}:Q", stack="normalize", title="share", axis=alt.Axis(format="~%")),
            color=alt.Color(
                field=_SERIES,
                type="ordinal",
                title=None,
                sort=list(parts),
                scale=alt.Scale(domain=list(parts), range=colors),
            ),
            order=alt.Order("place:Q"),
            tooltip=tooltips(rows, dict.fromkeys(parts, ".0%")),
        )
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
    formats: Formats = _NONE,
    height: int = 220,
    step: bool = False,
    from_zero: bool = True,
) -> Spec:
    """Returns lines that differ in colour and in dashes.

    Args:
      x: the column along the horizontal axis.
      y: the column along the vertical axis; of several columns, a line each.
      title: title of the vertical axis of several.
      series: the column that tells several lines of one `y` apart.
      kind: type of `x`.
      step: whether a value holds until the next one.
      from_zero: whether the vertical axis begins at 0.
    """
    mark: dict[str, Any] = {"point": len(rows) <= 20, "invalid": "filter"}
    if step:
        mark = {"interpolate": "step-after"}
    scale = alt.Scale(zero=False) if kind == "quantitative" else alt.Undefined
    if kind == "temporal":
        scale = alt.Scale(type="utc")
    across = channel(alt.X, rows, x, formats, type=kind, scale=scale)
    if isinstance(y, str):
        chart = alt.Chart(_DATA)
        up = channel(alt.Y, rows, y, formats, scale=alt.Scale(zero=from_zero))
        names = list(dict.fromkeys(row[series] for row in rows)) if series else []
        field = series
    else:
        chart, up, names, field = _folded(y), _value(alt.Y, y, title, formats), list(y), _SERIES
    encoding = {"x": across, "y": up, "tooltip": tooltips(rows, formats)}
    if names:
        # Points would make the legend's symbols dots with dashed edges.
        legend = alt.Legend(symbolType="stroke", symbolSize=300, symbolFillColor="transparent")
        same: dict[str, Any] = {"field": field, "type": "nominal", "title": None}
        same |= {"legend": legend, "scale": alt.Scale(domain=names)}
        encoding |= {"color": alt.Color(**same), "strokeDash": alt.StrokeDash(**same)}
    return specification(chart.mark_line(**mark).encode(**encoding), rows, height)


def intervals(
    rows: Sequence[Row],
    y: str,
    x: str,
    ends: tuple[str, str],
    reference: float,
    *,
    formats: Formats = _NONE,
) -> Spec:
    """Returns a dot per label with its interval, and a dashed line at a reference value.

    Args:
      y: the column with the labels.
      x: the column with the values.
      ends: the columns with the ends of the intervals.
      reference: where the dashed line is.
    """
    labels = channel(alt.Y, rows, y, type="nominal", title=None)
    scale = alt.Scale(zero=False)
    low, high = ends
    base = alt.Chart().encode(y=labels)
    start = channel(alt.X, rows, low, formats, title=f"{x} and 95 % interval", scale=scale)
    value = channel(alt.X, rows, x, formats, title=f"{x} and 95 % interval", scale=scale)
    layers = (
        alt.Chart().mark_rule(strokeDash=[4, 4]).encode(x=alt.datum(reference)),
        base.mark_rule(strokeWidth=2, opacity=0.55).encode(x=start, x2=alt.X2(field=high)),
        base.mark_point(size=70, opacity=1).encode(x=value, tooltip=tooltips(rows, formats)),
    )
    return specification(alt.layer(*layers, data=_DATA), rows, _STEP * len(rows) + 44)


def points(
    rows: Sequence[Row],
    x: str,
    y: str,
    *,
    series: str = "",
    formats: Formats = _NONE,
    height: int = 300,
    log: bool = False,
    diagonal: tuple[float, float] | None = None,
) -> Spec:
    """Returns points; a click on the legend leaves one series alone.

    Args:
      x: the column along the horizontal axis.
      y: the column along the vertical axis.
      series: the column by which points differ in colour and shape.
      log: whether the horizontal axis is logarithmic.
      diagonal: ends of both axes, between which a dashed line shows where both are equal.
    """
    scale = alt.Scale(domain=list(diagonal)) if diagonal else alt.Scale(zero=False)
    across = alt.Scale(type="symlog") if log else scale
    # Hundreds of points read out one by one help nobody; the chart has a description.
    mark = alt.Chart().mark_point(size=40, opacity=0.75, aria=len(rows) <= 60)
    found = mark.encode(
        x=channel(alt.X, rows, x, formats, scale=across),
        y=channel(alt.Y, rows, y, formats, scale=scale),
        tooltip=tooltips(rows, formats),
    )
    if series:
        names = list(dict.fromkeys(row[series] for row in rows))
        same: dict[str, Any] = {"field": series, "type": "nominal", "title": None}
        only = alt.selection_point(name="only", fields=[series], bind="legend")
        found = found.add_params(only).encode(
            color=alt.Color(**same, scale=alt.Scale(domain=names)),
            shape=alt.Shape(**same, scale=alt.Scale(domain=names)),
            opacity=alt.condition(only, alt.value(0.8), alt.value(0.04)),
        )
    layers = [found]
    if diagonal:
        ends = alt.InlineData(values=[{x: end, y: end} for end in diagonal])
        line = alt.Chart(ends).mark_line(strokeDash=[4, 4], color="var(--muted)", strokeWidth=1)
        layers.insert(
            0,
            line.encode(
                x=alt.X(field=x, type="quantitative"), y=alt.Y(field=y, type="quantitative")
            ),
        )
    return specification(alt.layer(*layers, data=_DATA), rows, height)


def heat(
    rows: Sequence[Row], x: str, y: str, value: str, *, height: int = 240, log: bool = False
) -> Spec:
    """Returns a grid of cells that are darker where a value is larger.

    Args:
      rows: one per cell.
      x: the column with the cells' columns.
      y: the column with the cells' rows.
      value: the column that they are coloured by.
      log: whether each step of the colours begins at twice the value of the one before, for
        values most of which are small beside a few.
    """
    scale = alt.Scale(type="quantize", range=list(STEPS), nice=True, zero=False)
    if log:
        largest = max((row[value] for row in rows), default=1.0)
        limits = [largest / 2**power for power in range(len(STEPS) - 1, 0, -1)]
        scale = alt.Scale(type="threshold", domain=limits, range=list(STEPS))
    whole = _whole(rows, value)
    legend = alt.Legend(format=",d" if whole else ".2~g", gradientLength=260)
    if log:
        legend.type = "symbol"
    across = channel(alt.X, rows, x, type="nominal")
    if log:
        across.axis = alt.Axis(labelAngle=-45, labelOverlap=False)
    chart = alt.Chart(_DATA).mark_rect(cornerRadius=2)
    chart = chart.encode(
        x=across,
        y=channel(alt.Y, rows, y, type="nominal", title=None),
        color=alt.Color(field=value, type="quantitative", title=value, scale=scale, legend=legend),
        tooltip=tooltips(rows),
    )
    return specification(chart, rows, height)


def us_map(rows: Sequence[Row], state: str, value: str, formats: Formats = _NONE) -> Spec:
    """Returns the states of the US coloured by quantiles of a value; grey where there is none.

    Args:
      rows: one per state.
      state: the column with the state's name.
      value: the column that they are coloured by.
    """
    known = alt.condition(
        alt.expr.isValid(alt.datum[value]),
        alt.Color(
            field=value,
            type="quantitative",
            title=value,
            scale=alt.Scale(type="quantile", range=list(STEPS)),
            legend=alt.Legend(
                type="symbol",
                symbolType="square",
                columns=3,
                format=_number_format(rows, value, formats),
            ),
        ),
        alt.value("var(--none)"),
    )
    looked_up = alt.LookupData(
        data=alt.InlineData(values=list(rows)), key=state, fields=list(rows[0])[:_TIPS]
    )
    chart = (
        alt.Chart(_DATA)
        .mark_geoshape(stroke="var(--card)", strokeWidth=0.8)
        .transform_lookup(lookup="properties.name", from_=looked_up)
        .encode(color=known, tooltip=tooltips(rows, formats))
        .project(type="identity")
    )
    outline = {"map": "us_states", "format": {"type": "topojson", "feature": "states"}}
    return {**specification(chart, (), 330), "data": outline}

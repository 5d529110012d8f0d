"""The summary of a run: summary.json and the final table in the terminal."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from components.evaluation.directions import HIGH, LOW, LOWER_IS_BETTER
from components.example_gen.held_out import NEW_IN_TEST, TEST_KEY
from components.names import SPLITS
from components.pusher.kind import EvaluationScope, Kind
from pipeline.config import OutputPaths
from pipeline.terminal import Terminal
from schema.dataset import in_words_of, plural
from schema.scenarios import IN_SESSION, NAMED_MOVIES, NEXT_VISIT, metric_name, new_user
from sources.cleaning_log import COUNTS, asked_for, describe_missing
from sources.errors import AnomaliesError, PipelineError
from sources.source import DataSource
from storage.paths import write_text

PUSHED, UP_TO_DATE, NOT_BLESSED = "pushed", "up_to_date", "not_blessed"
OTHER_KIND, NO_PUSH = "other_kind", "no_push"
ANOMALIES, FAILED = "anomalies", "failed"

EXIT_CODES: Mapping[str, int] = {
    PUSHED: 0,
    UP_TO_DATE: 0,
    NO_PUSH: 0,
    FAILED: 1,
    ANOMALIES: 3,
    NOT_BLESSED: 4,
    OTHER_KIND: 5,
}
"""Exit code by status; a `PipelineError` brings its own (2 for bad input)."""


SCHEMA_VERSION = 3
"""Version of the names in summary.json: raised when one goes or changes its meaning. Files without
it are of version 1, whose metrics had other names; files of version 2 have `protocol` as well."""

_PROJECT = Path(__file__).resolve().parent.parent
"""The folder for make, and the one that the server's default folder is relative to."""

_DEFAULT_MODEL_DIR = Path("output/serving_model")
"""What `make serve` serves by default."""


@dataclasses.dataclass
class Summary:
    """The content of summary.json.

    Attributes:
      schema_version: `SCHEMA_VERSION`.
      status: "pushed", "up_to_date", "no_push", "not_blessed", "other_kind" (blessed, but a model
        of another kind is served), "anomalies" or "failed".
      dataset: name (the user's own where they gave one), source, seed and folders of the data, and
        what people call an item.
      options: the command line's options.
      run: TFX's id of the run in the metadata store; None if no component was started.
      rows: rows per split, and rows read, dropped, repaired and with missing values, per file and
        reason.
      metadata: how many movies have a row in The Movies Dataset.
      import_cpu_seconds: processor time of loading TensorFlow, Beam and TFX.
      components: name, state, wall_seconds, cpu_seconds and peak_memory_mb of each.
      tuning: the search of hyperparameters, every trial and the best; empty without a Tuner.
      left_out: parts of the model that the data leaves out, such as EASE, and why.
      metrics: `<scenario>_<metric>` to value on the test split, with the ends of 95 % intervals as
        `..._low` and `..._high`; None if undefined.
      slices: feature, value and metrics of every slice of the test split.
      baseline: "compared", or why the model was compared with none.
      changes: differences of metrics from the baseline's: metric, change, low and high of the
        paired 95 % interval, and word: "better", "worse" or "within noise"; empty without a
        baseline.
      thresholds: each with bound, value and whether it passed.
      reasons: why the model was not blessed or not pushed, in words.
      kind: data set and split by which models replace each other.
      evaluation_scope: the kind as one word and a fingerprint of the test rows; metrics of runs
        with equal scopes are comparable.
      blessed: whether the model was blessed; None without a verdict.
      pushed_version: the version that this run pushed or found up to date; None if neither.
      pushed_path: its folder.
      report: path of the HTML report; None if there is none.
      error: the printed message of a failure.
      exit_code: the process's exit status.
    """

    schema_version: int = SCHEMA_VERSION
    dataset: dict[str, Any] = dataclasses.field(default_factory=dict)
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    run: str | None = None
    kind: dict[str, Any] = dataclasses.field(default_factory=dict)
    evaluation_scope: dict[str, Any] = dataclasses.field(default_factory=dict)
    status: str = FAILED
    rows: dict[str, Any] = dataclasses.field(default_factory=dict)
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)
    import_cpu_seconds: float | None = None
    components: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    tuning: dict[str, Any] = dataclasses.field(default_factory=dict)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)
    metrics: dict[str, float | None] = dataclasses.field(default_factory=dict)
    slices: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    baseline: str = ""
    changes: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    thresholds: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    reasons: list[str] = dataclasses.field(default_factory=list)
    blessed: bool | None = None
    pushed_version: str | None = None
    pushed_path: str | None = None
    report: str | None = None
    error: str | None = None
    exit_code: int = 1

    @property
    def item_noun(self) -> str:
        """What people call an item of the data."""
        return self.dataset.get("item_noun") or "movie"

    def describe_data(self, source: DataSource) -> None:
        """Records where the data comes from."""
        spec = source.open().spec
        event = "rating" if spec.features.has_rating else "event"
        self.dataset = {**source.to_json(), "item_noun": spec.item_noun, "event_noun": event}

    def fail(self, error: BaseException, message: str) -> None:
        """Records why the run ended early, and the exit code."""
        self.status = ANOMALIES if isinstance(error, AnomaliesError) else FAILED
        self.error = message
        self.exit_code = error.exit_code if isinstance(error, PipelineError) else 1

    def conclude(self, status: str) -> None:
        """Records how the run ended after its last component."""
        self.status = status
        self.exit_code = EXIT_CODES[status]

    def write(self, path: Path) -> None:
        """Writes the summary, replacing the file atomically."""
        write_text(path, json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n")


def rows_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the `rows` of a summary from a cleaning log."""
    rows: dict[str, Any] = dict(report["rows"])
    for kind in COUNTS:
        rows[kind] = {name: file[kind] for name, file in report["files"].items() if file.get(kind)}
    rows["read"] = {name: file["rows"] for name, file in report["files"].items() if file["rows"]}
    rows["new_in_test"] = {name: report[TEST_KEY][name] for name in NEW_IN_TEST}
    return rows


def scope_of(kind: Kind, report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the evaluation scope of a run, from its kind and its cleaning log."""
    return EvaluationScope(kind, report[TEST_KEY]["fingerprint"]).to_json()


def show(summary: Summary, terminal: Terminal, paths: OutputPaths) -> None:
    """Prints the final table and the next command, which stays on one line for copying."""
    lines = _lines(summary, paths)
    width = max(len(name) for name, _ in lines)
    *facts, (label, command) = lines
    terminal.print()
    if terminal.console.is_terminal:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True, min_width=width)
        table.add_column(overflow="fold")
        for name, value in facts:
            table.add_row(name, value)
        terminal.console.print(table)
    else:
        for name, value in facts:
            for number, line in enumerate(str(value).splitlines()):
                terminal.print(f"{'' if number else name:<{width + 2}}{line}")
    text = Text.assemble((f"{label:<{width + 2}}", "bold"), command)
    terminal.console.print(text, soft_wrap=True)
    terminal.print()


def _lines(summary: Summary, paths: OutputPaths) -> list[tuple[str, Text | str]]:
    lines: list[tuple[str, Text | str]] = [("data", _data(summary))]
    lines += _row_lines(summary)
    lines += _tuning_lines(summary)
    left_out = [f"{part}: {reason}" for part, reason in summary.left_out.items()]
    lines += [("left out", in_words_of(text, summary.item_noun)) for text in left_out]
    lines += _metric_lines(summary)
    lines.append(("verdict", _verdict(summary)))
    lines += [("", reason) for reason in summary.reasons]
    if summary.pushed_path:
        lines.append(("serving", f"version {summary.pushed_version} in {summary.pushed_path}"))
    if summary.report:
        lines.append(("report", f"{_short(Path(summary.report))} (open it in a browser)"))
    lines.append(("summary", f"{_short(paths.summary)}, log: {_short(paths.log)}"))
    lines.append(("next", _next_step(summary, paths)))
    return lines


def _data(summary: Summary) -> Text | str:
    data = summary.dataset
    text = f"{data.get('name')} ({data.get('source')}): {data.get('data_dir')}"
    if data.get("notice"):
        return Text.assemble(text, "\n", (str(data["notice"]), "bold yellow"))
    return text


def _row_lines(summary: Summary) -> list[tuple[str, Text | str]]:
    rows = summary.rows
    splits = [f"{rows[name]:,} {name}" for name in SPLITS if name in rows]
    events = plural(summary.dataset.get("event_noun") or "rating")
    lines: list[tuple[str, Text | str]] = [(events, ", ".join(splits))] if splits else []
    new = rows.get("new_in_test", {})
    if new.get("new_users"):
        lines.append(
            (
                "new in test",
                f"{new['rows_of_new_users']:,} {events} by {new['new_users']:,} users, "
                f"{new['rows_of_new_movies']:,} of {new['new_movies']:,} "
                f"{plural(summary.item_noun)}, that have none "
                "in train or validation",
            )
        )
    for kind in COUNTS[:-1]:
        parts = [
            f"{name}: "
            + ", ".join(f"{count:,} {asked_for(reason)}" for reason, count in reasons.items())
            for name, reasons in rows.get(kind, {}).items()
        ]
        if parts or (splits and kind == "dropped"):
            lines.append((kind.replace("_", " "), "; ".join(parts) or "nothing"))
    missing = [
        describe_missing(name, column, count, _kept(rows, name))
        for name, columns in rows.get("missing", {}).items()
        for column, count in columns.items()
    ]
    if missing:
        lines.append(("missing", "; ".join(missing)))
    if summary.metadata.get("movies"):
        known = summary.metadata
        lines.append(("metadata", f"{known['matched']:,} of {known['movies']:,} movies found"))
    return lines


def _kept(rows: Mapping[str, Any], file: str) -> int:
    """Returns how many rows of a file were not dropped."""
    return int(rows["read"][file]) - sum(rows["dropped"].get(file, {}).values())


def _tuning_lines(summary: Summary) -> list[tuple[str, Text | str]]:
    if not summary.tuning:
        return []
    values = summary.tuning["best"]
    text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    return [("hyperparameters", text), ("", f"searched: {summary.tuning['path']}")]


_SHOWN = (
    *(
        metric_name(NEXT_VISIT, name)
        for name in (
            "recall_at_10",
            "recall_at_100",
            "user_ndcg_at_10",
            "coverage_at_10",
            "popularity_recall_at_10",
            "popularity_recall_at_100",
            "recall_at_10_over_popularity",
            "recall_at_100_over_popularity",
            "rating_rmse",
            "rating_mae",
            "rating_r_squared",
        )
    ),
    *(metric_name(IN_SESSION, name) for name in ("recall_at_10", "recall_at_100", "rating_rmse")),
    *(
        metric_name(new_user(named), f"user_ndcg_at_10{suffix}")
        for named in NAMED_MOVIES
        for suffix in ("", "_over_popularity")
    ),
)


def _metric_lines(summary: Summary) -> list[tuple[str, Text | str]]:
    lines: list[tuple[str, Text | str]] = []
    if summary.changes or any(_interval(summary.metrics, name) for name in _SHOWN):
        lines.append(("metrics", "of the test split; in brackets 95 % intervals"))
    bounds: dict[str, list[Text]] = {}
    for threshold in summary.thresholds:
        row, end = _row_of(threshold["metric"], summary.metrics)
        line = Text(f"   {end}{_bound(threshold)} ", "dim")
        line.append(*(("✓", "green") if threshold["passed"] else ("✗", "bold red")))
        bounds.setdefault(row, []).append(line)
    for name in dict.fromkeys((*_SHOWN, *bounds)):
        if name not in summary.metrics:
            continue
        value = summary.metrics[name]
        line = Text("could not be computed" if value is None else f"{value:.4f}")
        if value is not None:
            line.append(_interval(summary.metrics, name), "dim")
        lines.append((name, Text.assemble(line, *bounds.get(name, ()))))
        lines += [("", _change(each)) for each in summary.changes if each["metric"] == name]
    return lines


def _row_of(metric: str, metrics: Mapping[str, float | None]) -> tuple[str, str]:
    """Returns the row that shows a threshold's metric, and which end of its interval it is, if any.

    The ends of an interval stand in brackets behind their metric, so have no rows of their own.
    """
    for suffix, end in ((LOW, "lower end "), (HIGH, "upper end ")):
        row = metric.removesuffix(suffix)
        if row != metric and row in metrics:
            return row, end
    return metric, ""


def _change(change: Mapping[str, Any]) -> Text:
    """Returns a difference from the blessed model's metric, with its paired interval."""
    if change["low"] is None or change["high"] is None:
        return Text("beside the blessed model: could not be computed", "dim")
    style = {"better": "green", "worse": "bold red"}.get(change["word"], "dim")
    return Text.assemble(
        (f"{change['change']:+.4f} beside the blessed model ", "dim"),
        (f"({change['low']:+.4f} to {change['high']:+.4f}): ", "dim"),
        (change["word"], style),
    )


def _interval(metrics: Mapping[str, float | None], name: str) -> str:
    """Returns the 95 % interval of a metric in words; nothing where it has none."""
    low, high = metrics.get(name + LOW), metrics.get(name + HIGH)
    return "" if low is None or high is None else f" ({low:.4f} to {high:.4f})"


def _bound(threshold: Mapping[str, Any]) -> str:
    lower = threshold["metric"] in LOWER_IS_BETTER
    if threshold["limit"] is None:
        return "no limit: it could not be computed"
    yours = " (yours)" if threshold.get("own") else ""
    if threshold["kind"] == "value":
        return f"{'at most' if lower else 'at least'} {threshold['bound']:.4f}{yours}"
    return (
        f"blessed before: {threshold['baseline']:.4f}, "
        f"{'rise' if lower else 'fall'} of up to {abs(threshold['bound']):g} allowed{yours}"
    )


_VERDICTS = {
    PUSHED: ("blessed and pushed", "bold green"),
    UP_TO_DATE: ("blessed; what is pushed is up to date", "bold green"),
    NO_PUSH: ("blessed; nothing was pushed (--no-push)", "bold green"),
    NOT_BLESSED: ("not blessed; nothing was pushed", "bold red"),
    OTHER_KIND: ("blessed, but not pushed: another kind is served", "bold red"),
    ANOMALIES: ("stopped: the data has anomalies", "bold red"),
    FAILED: ("failed", "bold red"),
}


def _verdict(summary: Summary) -> Text:
    return Text(*_VERDICTS[summary.status])


def _next_step(summary: Summary, paths: OutputPaths) -> str:
    if summary.status in (PUSHED, UP_TO_DATE):
        return _serve_command(_below(_PROJECT, paths.serving_model))
    if summary.status == OTHER_KIND:
        return "run it with another --output-dir; see above"
    if summary.status == NO_PUSH:
        return f"look at {_short(paths.report)}"
    if summary.status == NOT_BLESSED:
        return f"look at the slices in {_short(paths.summary)}; try other --epochs"
    if summary.status == ANOMALIES:
        return f"look at {_short(paths.anomalies)}, then fix the data or the schema"
    return f"look at {_short(paths.log)}"


def _serve_command(model_dir: Path) -> str:
    """Returns the command that serves a folder of models, for the project's folder."""
    if model_dir == _DEFAULT_MODEL_DIR:
        return "make serve"
    # make expands dollar signs, its shell everything else.
    option = f"--model-dir {shlex.quote(str(model_dir))}".replace("$", "$$")
    return f"make serve ARGS={shlex.quote(option)}"


def _short(path: Path) -> str:
    """Returns a path relative to the working directory, if it lies below."""
    return str(_below(Path.cwd(), path))


def _below(folder: Path, path: Path) -> Path:
    """Returns a path relative to a folder, if it lies below."""
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def thresholds_as_json(thresholds: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns the verdict's thresholds with their limits; None for NaN."""
    found = [{**dataclasses.asdict(t), "limit": t.limit()} for t in thresholds]
    return [
        {key: None if _is_nan(value) else value for key, value in fields.items()}
        for fields in found
    ]


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)

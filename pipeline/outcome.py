"""The results of components, read from their artifacts: for a line each and for the summary."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow_data_validation as tfdv
import tensorflow_transform as tft
from tfx.types import Artifact, artifact_utils
from tfx.utils import path_utils

from components import names
from components.evaluation.verdict import Verdict, read_verdict
from components.example_gen.executor import REPORT_FILE
from components.pusher import component as pusher
from components.pusher.kind import Kind
from components.report import component as report
from pipeline.dag import ComponentRun
from pipeline.summary import Summary, rows_of, scope_of, thresholds_as_json
from pipeline.terminal import FAILED
from schema.dataset import in_words_of, number_of
from schema.scenarios import NEXT_VISIT, metric_name, new_user
from sources.cleaning_log import DEFAULT_MAX_LOSS, CleaningLog, LossLimits
from trainer.config import HISTORY_FILE, LEFT_OUT_FILE, NEW_USERS_FILE, TRIALS_FILE
from transform import outputs as out

COMPARED, NO_BASELINE = "compared", "none of this kind"
NOT_COMPARABLE = "not comparable: blessed by an earlier release's evaluation"


def describe(run: ComponentRun, item_noun: str = "movie") -> str:
    """Returns a component's result in a few words, with what people call an item."""
    if run.state == FAILED:
        return str(run.error).strip().splitlines()[0] if str(run.error).strip() else "see the log"
    reader = _READERS.get(run.name)
    return in_words_of(reader(run), item_noun) if reader else ""


def artifact(run: ComponentRun, key: str) -> Artifact:
    """Returns the one artifact of an output."""
    return artifact_utils.get_single_instance(list(run.outputs[key]))


def cleaning_log(run: ComponentRun) -> dict[str, Any]:
    """Returns the cleaning log that an ExampleGen wrote beside its Examples."""
    text = (Path(artifact(run, "examples").uri) / REPORT_FILE).read_text(encoding="utf-8")
    report: dict[str, Any] = json.loads(text)
    return report


def verdict(run: ComponentRun) -> Verdict:
    """Returns the Evaluator's verdict."""
    return read_verdict(artifact(run, "evaluation").uri, artifact(run, "blessing").uri)


def tuning(run: ComponentRun) -> dict[str, Any]:
    """Returns the Tuner's record of its trials and the record's `path`."""
    path = Path(artifact(run, "tuner_results").uri) / TRIALS_FILE
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {"path": str(path.resolve()), **record}


def left_out(run: ComponentRun) -> dict[str, str]:
    """Returns which parts of the model the Trainer left out, and why."""
    folder = Path(path_utils.serving_model_path(artifact(run, "model").uri))
    path = folder / "assets.extra" / LEFT_OUT_FILE
    # A model to compare with (`--model joint` and the like) has no such parts.
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _rows(run: ComponentRun) -> str:
    rows = cleaning_log(run)["rows"]
    return ", ".join(
        f"{count:,} {'movie' if (name, count) == ('movies', 1) else name}"
        for name, count in rows.items()
    )


def _statistics(run: ComponentRun) -> str:
    names = artifact_utils.decode_split_names(artifact(run, "statistics").split_names)
    return f"of {', '.join(names)}"


def _schema(run: ComponentRun) -> str:
    schema = tfdv.load_schema_text(str(Path(artifact(run, "schema").uri) / "schema.pbtxt"))
    return f"{len(schema.feature)} features"


def _validator(run: ComponentRun) -> str:
    names = artifact_utils.decode_split_names(artifact(run, "anomalies").split_names)
    return f"{', '.join(names)} against the schema"


def _gate(run: ComponentRun) -> str:
    warnings = artifact(run, "gate_pass").warnings
    more = ": see anomalies.json" if warnings else ""
    return f"no errors, {number_of(warnings, 'warning') if warnings else 'no warnings'}{more}"


def _previous(run: ComponentRun) -> str:
    found = run.outputs.get("statistics")
    return (
        f"statistics {found[0].id}, to find drift"
        if found
        else "none: no earlier run of this kind on other data"
    )


def _transform(run: ComponentRun) -> str:
    output = tft.TFTransformOutput(artifact(run, "transform_graph").uri)
    ids = (out.USER_ID_INDEX, out.ITEM_ID_INDEX)
    users, movies = (output.vocabulary_size_by_name(name) for name in ids)
    return f"vocabularies of {users:,} users, {movies:,} movies"


def new_users(run: ComponentRun) -> dict[str, Any]:
    """Returns what the NewUserEvaluator measured: its folds, and the metrics by name."""
    path = Path(artifact(run, "evaluation").uri) / NEW_USERS_FILE
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _new_users(run: ComponentRun) -> str:
    found = new_users(run)
    value = found["metrics"].get(metric_name(new_user(1), "user_ndcg_at_10"))
    measured = "no user" if value is None else f"1 movie named: NDCG@10 {value:.3f}"
    return f"{found['folds']} folds: {measured}"


def _tuner(run: ComponentRun) -> str:
    found = tuning(run)
    trials, best = found["trials"], found["best_trial"]
    first, chosen = (trials[number - 1]["metrics"].get("objective") for number in (1, best))
    before = "failed" if first is None else f"{first:.4f}"
    return f"best of {len(trials)} trials: {best}, {chosen:.4f} (defaults: {before})"


_TRAINED: Mapping[str, str] = {
    "rmse": "{}, training rmse",
    "retrieval_loss": "{}, training retrieval loss",
    "autoencoder_loss": "autoencoder: {}, training loss",
}


def _trainer(run: ComponentRun) -> str:
    path = Path(artifact(run, "model_run").uri) / HISTORY_FILE
    losses: Mapping[str, list[float]] = json.loads(path.read_text(encoding="utf-8"))
    # Without ratings there is no network of theirs, and without times there are no towers either.
    name = next(one for one in _TRAINED if one in losses)
    epochs = number_of(len(losses[name]), "epoch")
    line = f"{_TRAINED[name].format(epochs)} {losses[name][-1]:.4f}"
    block = losses.get("sequence_loss")
    return f"{line}, sequence block: loss {block[-1]:.4f}" if block else line


def baseline(run: ComponentRun) -> str:
    """Returns `COMPARED` if there is a baseline, else why there is none."""
    if run.outputs.get("model"):
        return COMPARED
    return NOT_COMPARABLE if run.outputs.get("model_blessing") else NO_BASELINE


def _baseline(run: ComponentRun) -> str:
    found = baseline(run)
    if found == COMPARED:
        return f"model {run.outputs['model'][0].id}"
    return "none: no other blessed model of this kind" if found == NO_BASELINE else found


def _evaluator(run: ComponentRun) -> str:
    found = verdict(run)
    word = "blessed" if found.blessed else "not blessed"
    if not found.metrics:
        return word
    shown = {"RMSE": "rating_rmse", "recall@10": "recall_at_10"}
    named = {text: metric_name(NEXT_VISIT, name) for text, name in shown.items()}
    values = [f"{t} {found.metrics[n]:.3f}" for t, n in named.items() if n in found.metrics]
    return f"{word}: next visit: {', '.join(values) or 'no metric'}"


_NOT_PUSHED = {"other_kind": "nothing: another kind is served", "no_push": "nothing (--no-push)"}


def _pusher(run: ComponentRun) -> str:
    pushed = artifact(run, "pushed_model")
    reason = pushed.get_string_custom_property(pusher.REASON)
    version = pushed.get_string_custom_property(pusher.PUSHED_VERSION)
    return {"pushed": f"version {version}", "up_to_date": f"version {version} is up to date"}.get(
        reason, _NOT_PUSHED.get(reason, "nothing: not blessed")
    )


def _report(run: ComponentRun) -> str:
    found = artifact(run, "report")
    broken = found.get_string_custom_property(report.BROKEN)
    size = (Path(found.uri) / names.REPORT_FILE.name).stat().st_size / 1e6
    return f"{size:.1f} MB" + (f", without {broken}: see the log" if broken else "")


_READERS: Mapping[str, Callable[[ComponentRun], str]] = {
    names.RATINGS_GEN: _rows,
    names.MOVIES_GEN: _rows,
    names.STATISTICS_GEN: _statistics,
    names.SCHEMA_GEN: _schema,
    names.IMPORT_SCHEMA_GEN: _schema,
    names.PREVIOUS_STATISTICS: _previous,
    names.EXAMPLE_VALIDATOR: _validator,
    names.ANOMALY_GATE: _gate,
    names.TRANSFORM: _transform,
    names.TUNER: _tuner,
    names.TRAINER: _trainer,
    names.NEW_USER_EVALUATOR: _new_users,
    names.LATEST_BLESSED_MODEL: _baseline,
    names.EVALUATOR: _evaluator,
    names.PUSHER: _pusher,
    names.REPORT_GEN: _report,
}


def record(summary: Summary, run: ComponentRun) -> None:
    """Adds a component's state, times and results to the summary.

    Raises:
      InputError: RatingsGen lost more rows or values than `--max-loss` allows. A cached RatingsGen
        may have run under another limit.
    """
    summary.components.append(run.to_json())
    if run.state != FAILED and run.name in _RECORDERS:
        _RECORDERS[run.name](summary, run)


def _record_ratings(summary: Summary, run: ComponentRun) -> None:
    found = cleaning_log(run)
    summary.rows = rows_of(found)
    summary.metadata = found["metadata"]
    summary.evaluation_scope = scope_of(Kind.from_json(summary.kind), found)
    check_losses(found, summary.options.get("max_loss", DEFAULT_MAX_LOSS))


def check_losses(found: Mapping[str, Any], max_loss: float) -> None:
    """Raises an InputError if an ExampleGen lost more than the share `max_loss`."""
    CleaningLog.from_json(found).check(LossLimits.of(max_loss))


def _record_tuning(summary: Summary, run: ComponentRun) -> None:
    summary.tuning = tuning(run)


def _record_training(summary: Summary, run: ComponentRun) -> None:
    summary.left_out = left_out(run)


def _record_baseline(summary: Summary, run: ComponentRun) -> None:
    summary.baseline = baseline(run)


def _record_verdict(summary: Summary, run: ComponentRun) -> None:
    found = verdict(run)
    document = found.to_json()
    summary.metrics |= document["metrics"]
    summary.slices = document["slices"]
    summary.changes = document["changes"]
    summary.thresholds = thresholds_as_json(found.thresholds)
    reasons = found.reasons(comparable=summary.baseline != NOT_COMPARABLE)
    summary.reasons = [in_words_of(reason, summary.item_noun) for reason in reasons]
    summary.blessed = found.blessed


def _record_new_users(summary: Summary, run: ComponentRun) -> None:
    summary.metrics |= new_users(run)["metrics"]


def _record_push(summary: Summary, run: ComponentRun) -> None:
    pushed = artifact(run, "pushed_model")

    def of(name: str) -> str | None:
        return pushed.get_string_custom_property(name) or None

    summary.conclude(pushed.get_string_custom_property(pusher.REASON))
    summary.pushed_version = of(pusher.PUSHED_VERSION)
    summary.pushed_path = of(pusher.PUSHED_DESTINATION)
    if explanation := of(pusher.EXPLANATION):
        summary.reasons.append(explanation)


def _record_report(summary: Summary, run: ComponentRun) -> None:
    summary.report = str((Path(artifact(run, "report").uri) / names.REPORT_FILE.name).resolve())


_RECORDERS: Mapping[str, Callable[[Summary, ComponentRun], None]] = {
    names.RATINGS_GEN: _record_ratings,
    names.TUNER: _record_tuning,
    names.TRAINER: _record_training,
    names.NEW_USER_EVALUATOR: _record_new_users,
    names.LATEST_BLESSED_MODEL: _record_baseline,
    names.EVALUATOR: _record_verdict,
    names.PUSHER: _record_push,
    names.REPORT_GEN: _record_report,
}

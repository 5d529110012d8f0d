"""A run from start to end: find the data, run the components, say what happened."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.data import download, files, metadata, progress, source
from components.data.report import DEFAULT_MAX_LOSS, LossLimits, WranglingReport
from components.errors import InputError, PipelineError
from pipeline import summary as summaries
from pipeline.config import Model, OutputPaths, RunConfig
from pipeline.console import Screen
from pipeline.logs import captured_output

if TYPE_CHECKING:
    from pipeline.dag import ComponentRun
    from pipeline.pipeline import PipelineConfig
    from trainer.config import TutorialConfig

_logger = logging.getLogger(__name__)

_REPORT = "ReportGen"

# Set before TensorFlow is imported: its C++ side reads it once.
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "1", "TF_ENABLE_ONEDNN_OPTS": "1"}


def run(config: RunConfig) -> int:
    """Runs the pipeline, prints and writes the summary, and returns the exit code.

    Raises:
      InputError: the output directory cannot be used; nothing has been written then.
    """
    paths = config.paths
    with _output_directory(paths), captured_output(paths.log, verbose=config.verbose) as stream:
        # Nobody may take what an earlier run says for what this one does, however it ends.
        paths.summary.unlink(missing_ok=True)
        paths.report.unlink(missing_ok=True)
        screen = Screen(stream)
        summary = summaries.Summary(options=_as_json(config))
        try:
            _run(config, paths, screen, summary)
        except Exception as error:
            _logger.exception("The run failed")
            problem = what_to_tell(error, paths)
            summary.fail(problem, explain(problem, paths))
        if summary.components:
            _ensure_report(summary, screen, paths)
        with _ignoring_a_full_disk():
            summary.write(paths.summary)
        if summary.components:
            summaries.show(summary, screen, paths)
    if summary.error:
        print(summary.error, file=sys.stderr)
    return summary.exit_code


def _run(config: RunConfig, paths: OutputPaths, screen: Screen, summary: summaries.Summary) -> None:
    with progress.progress_bar(screen.console) as bar:
        data = source.resolve_source(
            dataset=config.dataset,
            data_dir=config.data_dir,
            metadata_dir=config.metadata_dir,
            output_dir=paths.root,
            seed=config.seed,
            sample_ratings=config.sample_ratings,
            say=lambda text: screen.say(text, style="yellow"),
            progress=bar,
        )
    summary.describe_data(data)
    files.check_files(data.data_dir)
    if data.metadata_dir is not None:
        metadata.check_metadata_files(data.metadata_dir)
    _introduce(data, screen)
    started = time.process_time()
    with screen.working("loading TensorFlow and TFX"):
        os.environ.update({k: v for k, v in _ENVIRONMENT.items() if k not in os.environ})
        from pipeline import dag, outcome, pipeline
    summary.import_cpu_seconds = round(time.process_time() - started, 3)
    built = _pipeline_config(config, data, paths)
    summary.protocol = built.protocol
    summary.kind = built.kind.to_json()
    _foretell(built, screen)
    runner = dag.DagRunner(pipeline.create_pipeline(built), screen, outcome.describe)
    summary.run = runner.run_id
    for component in runner.run():
        _take_in(summary, component, paths)
        if component.error is None:
            continue
        if component.name != _REPORT:
            raise component.error
        # The run has come to its end by then; what is lost is the page that tells of it.
        _logger.error("The report failed", exc_info=component.error)


def _foretell(built: PipelineConfig, screen: Screen) -> None:
    """Says at the start, before minutes of training, if the model will not be pushed."""
    from components.pusher.kind import read_served, refusal
    from components.pusher.publish import newest_version

    folder = built.paths.serving_model
    served = read_served(folder, newest_version(folder), built.earlier_kind)
    if not built.no_push and refusal(built.kind, served, replace=built.replace):
        screen.say(
            f"Another kind is served here ({served.describe()}): this run's model "
            f"({built.kind.describe()}) is judged but not pushed.",
            style="yellow",
        )


def _ensure_report(summary: summaries.Summary, screen: Screen, paths: OutputPaths) -> None:
    """Makes the report of a run that ended before it came to one.

    That is when people need it; should it fail, what the run came to stays as it is.
    """
    try:
        if not paths.report.exists():
            from components.report.build import write_report
            from components.report.sources import find_sources

            with screen.working("making the report"):
                sources = find_sources(
                    paths.root,
                    dataset=summary.dataset,
                    protocol=summary.protocol,
                    error=summary.error or "",
                )
                write_report(sources, paths.report)
        summary.report = str(paths.report)
    except Exception as error:
        _logger.exception("The report could not be made")
        problem = explain(what_to_tell(error, paths), paths)
        screen.say(f"The report could not be made. {problem}", style="yellow")


def _introduce(data: source.DataSource, screen: Screen) -> None:
    screen.say(f"Data: {data.name} ({data.source}), {data.data_dir}")
    if data.metadata_dir:
        screen.say(f"Film metadata: {data.metadata_dir}")
    else:
        screen.say("Film metadata: none, so directors and stars are unknown")
    if data.name == "ml-100k":
        screen.say(download.LICENCE_NOTE, style="dim")
    screen.say()


def _pipeline_config(
    config: RunConfig, data: source.DataSource, paths: OutputPaths
) -> PipelineConfig:
    from components.example_gen.options import ExampleGenOptions
    from pipeline import kinds
    from pipeline.pipeline import PipelineConfig
    from pipeline.thresholds import thresholds_for
    from trainer.config import TrainConfig, TrainerConfig, TunerConfig

    digest = files.file_digest(data.data_dir, files.FILES)
    if data.metadata_dir is not None:
        digest += files.file_digest(data.metadata_dir, metadata.FILES)
    train = TrainConfig(seed=config.seed)
    if config.epochs is not None:
        train = dataclasses.replace(train, epochs=config.epochs)
    tuner = TunerConfig(epochs=config.epochs is None)
    if config.tune_trials is not None:
        tuner = dataclasses.replace(tuner, trials=config.tune_trials)
    kind = kinds.kind_of(config, data, paths)
    return PipelineConfig(
        data_dir=data.data_dir.resolve(),
        example_gen=ExampleGenOptions(
            metadata_dir=str(data.metadata_dir.resolve()) if data.metadata_dir else None,
            split=config.split,
            split_seed=config.seed_of_splits,
            invalid_zip=config.invalid_zip,
            content_digest=digest,
            max_loss=config.max_loss,
        ),
        trainer=TrainerConfig(train=train, tutorial=_tutorial(config.model)),
        tuner=tuner if config.tune else None,
        dataset=data.to_json(),
        protocol=(
            f"{kind.dataset}, {kind.split_method} split, seed {kind.split_seed}, "
            f"invalid zip {config.invalid_zip}"
        ),
        kind=kind,
        earlier_kind=kinds.earlier_kind(paths),
        replace=config.replace,
        no_push=config.no_push,
        thresholds=thresholds_for(data.name, config.split),
        paths=paths,
        cache=config.cache,
    )


def _tutorial(model: Model) -> TutorialConfig | None:
    """Returns the configuration of a model to compare with; None for ours."""
    from trainer.config import TutorialConfig

    weights = {"joint": (1.0, 1.0), "retrieval": (1.0, 0.0), "rating": (0.0, 1.0)}
    if model not in weights:
        return None
    retrieval, rating = weights[model]
    return TutorialConfig(retrieval_weight=retrieval, rating_weight=rating)


def _take_in(summary: summaries.Summary, run: ComponentRun, paths: OutputPaths) -> None:
    """Adds what a component did to the summary."""
    from components.gate import executor as gate
    from components.pusher import executor as pusher
    from pipeline import outcome
    from pipeline.console import FAILED

    summary.components.append(
        {
            "name": run.name,
            "state": run.state,
            "wall_seconds": round(run.wall_seconds, 3),
            "cpu_seconds": round(run.cpu_seconds, 3),
            "peak_memory_mb": run.peak_memory_mb and round(run.peak_memory_mb, 1),
        }
    )
    if run.state == FAILED:
        return
    if run.name == "AnomalyGate":
        # A gate that is cached wrote its copy in another run, perhaps over other data.
        found = Path(outcome.artifact(run, "gate_pass").uri) / gate.REPORT_FILE
        shutil.copyfile(found, paths.anomalies)
    if run.name == "RatingsGen":
        report = outcome.wrangling(run)
        summary.rows = summaries.rows_of(report)
        summary.metadata = report["metadata"]
        check_losses(report, summary.options.get("max_loss", DEFAULT_MAX_LOSS))
    elif run.name == "Tuner":
        summary.tuning = outcome.tuning(run)
    elif run.name == "Evaluator":
        verdict = outcome.verdict(run)
        document = verdict.to_json()
        summary.metrics = document["metrics"]
        summary.thresholds = summaries.thresholds_as_json(verdict.thresholds)
        summary.slices = document["slices"]
        summary.reasons = list(verdict.reasons())
        summary.blessed = verdict.blessed
    elif run.name == "Pusher":
        pushed = outcome.artifact(run, "pushed_model")
        summary.conclude(pushed.get_string_custom_property(pusher.REASON))
        version = pushed.get_string_custom_property(pusher.PUSHED_VERSION)
        summary.pushed_version = version or None
        summary.pushed_path = pushed.get_string_custom_property(pusher.PUSHED_DESTINATION) or None
        explanation = pushed.get_string_custom_property(pusher.EXPLANATION)
        if explanation:
            summary.reasons.append(explanation)
    elif run.name == _REPORT:
        with _ignoring_a_full_disk():
            _publish(Path(outcome.artifact(run, "report").uri) / paths.report.name, paths.report)


def check_losses(report: Mapping[str, Any], max_loss: float) -> None:
    """Judges what an ExampleGen lost once more, since a cached one judged nothing in this run.

    Raises:
      InputError: it is more than the share `max_loss`.
    """
    WranglingReport.from_json(report).check(LossLimits.of(max_loss))


def _publish(found: Path, path: Path) -> None:
    """Copies a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        shutil.copyfile(found, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def what_to_tell(error: Exception, paths: OutputPaths) -> Exception:
    """Returns the error that a person is told of: a full disk by its name, however it came."""
    if isinstance(error, PipelineError) or not _is_full_disk(error):
        return error
    return _disk_full(paths.root)


def explain(error: BaseException, paths: OutputPaths) -> str:
    """Returns what a person is told about a failure: a few lines, never a stack trace."""
    if isinstance(error, PipelineError):
        return str(error)
    what = (str(error).strip().splitlines() or [""])[0][:300]
    return f"Unexpected failure: {type(error).__name__}: {what}\n  the detail is in {paths.log}"


# From Beam's workers, TensorFlow and the metadata store's SQLite only the text arrives.
_SIGNS_OF_A_FULL_DISK = ("No space left on device", "database or disk is full")


def _is_full_disk(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return True
        if any(sign in str(error) for sign in _SIGNS_OF_A_FULL_DISK):
            return True
        error = error.__cause__ or error.__context__
    return False


def _disk_full(root: Path) -> InputError:
    return InputError(
        "the disk is full",
        file=str(root),
        expected="room for artifacts and models",
        action="free some space, or choose another --output-dir; the next run goes on from here",
    )


@contextlib.contextmanager
def _ignoring_a_full_disk() -> Iterator[None]:
    """The summary is lost when the disk is full; what it says is still printed."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@contextlib.contextmanager
def _output_directory(paths: OutputPaths) -> Iterator[None]:
    """Makes the output directory and keeps other runs out of it.

    Raises:
      InputError: it cannot be written to, or another run is at work in it.
    """
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        lock = paths.lock.open("w")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _disk_full(paths.root) from error
        raise InputError(
            "the output directory cannot be written to",
            file=str(paths.root),
            found=error.strerror or str(error),
            action="choose another with --output-dir, or change its permissions",
        ) from error
    with lock:
        try:
            # Released by the system when the process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                "another run is at work in this output directory",
                file=str(paths.root),
                action="wait until it is done, or choose another --output-dir",
            ) from error
        yield


def _as_json(config: RunConfig) -> dict[str, object]:
    values = dataclasses.asdict(config)
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}

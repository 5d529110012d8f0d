"""A run from start to end: finds the data, runs the components, writes summary and report."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.names import ANOMALIES_FILE, ANOMALY_GATE, REPORT_GEN
from pipeline import cache_store, kinds, output_folder
from pipeline import summary as summaries
from pipeline.config import Model, OutputPaths, RunConfig
from pipeline.logs import captured_output
from pipeline.terminal import Terminal
from schema.features import DIRECTOR, STAR, FeatureTable
from schema.features import Kind as FeatureKind
from sources import (
    archive,
    description,
    download,
    files,
    metadata,
    progress,
    releases,
    sample,
    source,
)
from sources.cleaning_log import LossLimits
from sources.detect import detect
from sources.errors import InputError, PipelineError
from sources.names import CUSTOM, DATA_VARIABLE, ML_100K
from sources.spec import DatasetSpec
from storage import environment
from storage import paths as storage
from storage.errors import FULL_DISK, PathError
from trainer.config import SequenceConfig, TrainConfig, TrainerConfig, TutorialConfig
from trainer.settings import EPOCHS, applied

if TYPE_CHECKING:
    from pipeline.pipeline import PipelineConfig
    from sources.adapter import DatasetAdapter

_logger = logging.getLogger(__name__)

_FOLDER_VARIABLES = (DATA_VARIABLE, source.METADATA_VARIABLE, download.CACHE_VARIABLE)

_PROJECT = Path(__file__).resolve().parent.parent

# Set before TensorFlow is imported: its C++ side reads it once.
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "1", "TF_ENABLE_ONEDNN_OPTS": "1"}


def run(config: RunConfig) -> int:
    """Runs the pipeline, prints and writes the summary, and returns the exit code.

    Summary, report and log of the previous run are replaced when this one has ended; a run that is
    refused before its first component leaves them unchanged.

    Raises:
      InputError: an option, a folder or data cannot be used; nothing has been changed then.
    """
    paths = config.paths
    _check_folders(config)
    with output_folder.claimed(paths):
        cache_store.prepare(paths, reset=config.reset_cache)
        return _run_claimed(config, paths)


def _run_claimed(config: RunConfig, paths: OutputPaths) -> int:
    with output_folder.log_set_aside(paths.log) as put_log_back:
        with captured_output(paths.log, verbose=config.verbose) as stream:
            terminal = Terminal(stream)
            summary = summaries.Summary(options=_as_json(config))
            refused = _attempt(config, paths, terminal, summary)
            if refused is None:
                _finish(summary, terminal, paths)
        if refused is not None:
            put_log_back()
            raise refused
    if summary.error:
        environment.print_to_stderr([summary.error])
    return summary.exit_code


def _check_folders(config: RunConfig) -> None:
    """Checks the given folders before anything is created, downloaded or changed."""
    for variable in _FOLDER_VARIABLES:
        if os.environ.get(variable):
            storage.local_path(os.environ[variable], f"${variable}")
    for path, name in ((config.paths.root, "--output-dir"), (_PROJECT, "the project's folder")):
        storage.refuse_unreadable_name(path, name)
    data, metadata_dir = source.given_paths(
        dataset=config.dataset, data=config.data, metadata_dir=config.metadata_dir
    )
    features = None
    # A zip file is unpacked into the output folder, once that is claimed.
    if data is not None and not archive.is_archive(data):
        adapter = detect(data, config.paths.root, config.paths.root)
        adapter.check()
        _check_early(config, adapter)
        own = adapter.folder / sample.METADATA_FOLDER
        with_metadata = metadata_dir is not None or own.is_dir()
        features = features_of(adapter.spec, with_metadata=with_metadata)
    if metadata_dir is not None:
        metadata.check_metadata_files(metadata_dir)
    for file, option in ((config.schema, "--schema"), (config.thresholds, "--thresholds")):
        if file is not None and not file.is_file():
            raise InputError(
                f"{option} is no file" if file.exists() else f"{option} does not exist",
                file=str(file),
                action=f"correct {option}, or leave it out",
            )
    _check_given_files(config, features)


def _check_early(config: RunConfig, adapter: DatasetAdapter) -> None:
    """Refuses own tables that no run can end well with; see `early.check_early`."""
    if adapter.layout_text:
        from components.example_gen.early import check_early
        from sources.table import Table

        assert isinstance(adapter, Table), "own tables alone have a layout"
        limits = LossLimits.of(config.max_loss)
        check_early(adapter, config.split, config.split_seed, limits, config.split_time)


def _check_given_files(config: RunConfig, features: FeatureTable | None) -> None:
    """Checks the user's thresholds and schema; against the data where its features are known.

    Raises:
      InputError: one of them is wrong.
    """
    file = _threshold_file(config)
    if file is None and config.schema is None:
        return
    # What these imports print is for no log yet.
    with captured_output(Path(os.devnull), verbose=False):
        _set_environment()
        from components.evaluation.config import Thresholds
        from pipeline.schema_file import check_schema
        from pipeline.threshold_file import own_thresholds, read_thresholds

        if file is not None and features is not None:
            own_thresholds(file, Thresholds(), config.split, features)
        elif file is not None:
            read_thresholds(file)
        if config.schema is not None and features is not None:
            check_schema(config.schema, features)


def _threshold_file(config: RunConfig) -> Path | None:
    """Returns the user's own thresholds: those given, else those in the output folder."""
    found = config.paths.thresholds
    return config.thresholds or (found if found.exists() else None)


def _set_environment() -> None:
    os.environ.update({k: v for k, v in _ENVIRONMENT.items() if k not in os.environ})


def _attempt(
    config: RunConfig, paths: OutputPaths, terminal: Terminal, summary: summaries.Summary
) -> PipelineError | None:
    """Runs the pipeline; returns why it was refused before its first component, if it was."""
    try:
        _run(config, paths, terminal, summary)
    except Exception as error:
        problem = error_to_print(error, paths)
        if isinstance(problem, PipelineError) and not summary.components:
            return problem
        _logger.exception("The run failed")
        summary.fail(problem, explain(problem, paths))
    return None


def _finish(summary: summaries.Summary, terminal: Terminal, paths: OutputPaths) -> None:
    """Publishes the run's report and summary in place of the previous run's; prints the table.

    Those of the last few runs stay in folders of their own.
    """
    folder = output_folder.run_folder(paths, summary.run) if summary.run else None
    page = _report_page(summary, terminal, paths, folder) if folder else None
    summary.report = None
    with _saying_what_cannot_be_written(terminal):
        if folder is not None and page is not None:
            _publish(page, folder / paths.report.name)
            _publish(page, paths.report)
            summary.report = str(paths.report)
        summary.write(paths.summary)
        if folder is not None:
            _publish(paths.summary, folder / paths.summary.name)
            _publish(paths.log, folder / paths.log.name)
            output_folder.drop_old_runs(paths)
    if summary.components:
        summaries.show(summary, terminal, paths)


def _run(
    config: RunConfig, paths: OutputPaths, terminal: Terminal, summary: summaries.Summary
) -> None:
    with progress.progress_bar(terminal.console) as bar:
        data = source.resolve_source(
            dataset=config.dataset,
            data=config.data,
            metadata_dir=config.metadata_dir,
            output_dir=paths.root,
            seed=config.sample_seed,
            sample_ratings=config.sample_ratings,
            say=lambda text: terminal.print(text, style="yellow"),
            progress=bar,
        )
    if data.name == CUSTOM:
        data = dataclasses.replace(data, called=kinds.name_of(config, data, paths))
    summary.describe_data(data)
    archive.remove_unpacked(paths.root / "data", kept=data.data_dir)
    adapter = data.open()
    adapter.check()
    if (paths.root / "data").resolve() in data.data_dir.parents:  # of a zip file
        _check_early(config, adapter)
    if data.metadata_dir is not None:
        metadata.check_metadata_files(data.metadata_dir)
    _introduce(data, paths.root, terminal)
    started = time.process_time()
    with terminal.working("loading TensorFlow and TFX"):
        _set_environment()
        from pipeline import dag, outcome, pipeline
    summary.import_cpu_seconds = round(time.process_time() - started, 3)
    built = _pipeline_config(config, data, paths, terminal)
    summary.kind = built.kind.to_json()
    _announce_other_kind(built, terminal)
    fresh = cache_store.is_fresh(paths)
    with storage.working_in(paths.root):
        graph = pipeline.create_pipeline(built)
        if fresh:
            cache_store.drop_unknown_artifacts(paths, [node.id for node in graph.components])
        describe = functools.partial(outcome.describe, item_noun=data.open().spec.item_noun)
        runner = dag.DagRunner(graph, terminal, describe)
        summary.run = runner.run_id
        for component in runner.run():
            outcome.record(summary, component)
            if component.name == ANOMALY_GATE and component.error is None:
                # A cached gate wrote this file in an earlier run, perhaps for other data.
                findings = Path(outcome.artifact(component, "gate_pass").uri) / ANOMALIES_FILE
                shutil.copyfile(findings, paths.anomalies)
            if component.error is None:
                continue
            if component.name != REPORT_GEN:
                raise component.error
            # All other components are done; `_report_page` tries again.
            _logger.error("The report failed", exc_info=component.error)


def _announce_other_kind(built: PipelineConfig, terminal: Terminal) -> None:
    """Prints before minutes of training if the model will not be pushed."""
    from components.pusher.kind import read_served, refusal
    from components.pusher.publish import newest_version

    folder = built.paths.serving_model
    served = read_served(folder, newest_version(folder))
    if not built.no_push and refusal(built.kind, served, replace=built.replace):
        terminal.print(
            f"Another kind is served here ({served.describe()}): this run's model "
            f"({built.kind.describe()}) is evaluated but not pushed.",
            style="yellow",
        )


def _report_page(
    summary: summaries.Summary, terminal: Terminal, paths: OutputPaths, folder: Path
) -> Path | None:
    """Returns ReportGen's page; writes one to `folder` if the run ended before ReportGen.

    Returns None, after printing why, if that fails: the run's exit code stays as it is.
    """
    if summary.report:
        return Path(summary.report)
    page = folder / paths.report.name
    try:
        from components.report.build import write_report
        from components.report.sources import find_sources

        with terminal.working("making the report"), storage.working_in(paths.root):
            sources = find_sources(
                Path(),
                dataset=summary.dataset,
                kind=summary.kind,
                error=summary.error or "",
            )
            write_report(sources, page)
        return page
    except Exception as error:
        _logger.exception("The report could not be made")
        problem = explain(error_to_print(error, paths), paths)
        terminal.print(f"The report could not be made. {problem}", style="yellow")
        return None


def _introduce(data: source.DataSource, root: Path, terminal: Terminal) -> None:
    adapter = data.open()
    spec = adapter.spec
    form = "" if data.name != CUSTOM else f", in the format of {spec.title}"
    terminal.print(f"Data: {data.called or data.name} ({data.source}), {data.data_dir}{form}")
    if not spec.features.has_rating:
        terminal.print(
            "Ratings: this data has none: every event counts as positive, none is predicted, and "
            "the model is judged by its lists alone"
        )
    if not spec.features.has_time:
        terminal.print(
            "Times: this data has none: the split is random, and nothing is recommended or "
            "measured within a session"
        )
    if data.layout:
        own = description.find(root, data.data_dir)
        adapter.followed(own)
        for line in (*own.shown(), *adapter.roles(), *adapter.odd()):
            terminal.print(line)
        terminal.print()
        return
    if adapter.users_file not in adapter.formats:
        terminal.print("Users: this data has no ages, genders, occupations or zip codes of users")
    if data.metadata_dir:
        terminal.print(f"Movie metadata: {data.metadata_dir}")
    else:
        terminal.print("Movie metadata: none, so directors and lead actors are unknown")
    if data.name == ML_100K:
        terminal.print(releases.LICENCE_NOTE, style="dim")
    elif data.name in releases.ARCHIVES:
        title = releases.ARCHIVES[data.name].name
        terminal.print(f"{title} of GroupLens: {spec.licence}.", style="dim")
    elif spec.name != ML_100K:
        terminal.print(f"If this is {spec.title} of GroupLens: {spec.licence}.", style="dim")
    terminal.print()


def features_of(spec: DatasetSpec, *, with_metadata: bool) -> FeatureTable:
    """Returns the features of a run: without film metadata, director and lead actor are absent.

    MovieLens-100K keeps both, as "unknown", so that its models stay comparable with earlier ones.
    """
    if with_metadata or spec.name == ML_100K:
        return spec.features
    absent = (DIRECTOR, STAR)
    return FeatureTable(tuple(one for one in spec.features.features if one not in absent))


def _pipeline_config(
    config: RunConfig, data: source.DataSource, paths: OutputPaths, terminal: Terminal
) -> PipelineConfig:
    from components.example_gen.executor import first_split_time
    from components.example_gen.options import ExampleGenOptions
    from pipeline.pipeline import SCHEMA_FILE, PipelineConfig
    from pipeline.schema_file import curated_schema
    from pipeline.threshold_file import describe, own_thresholds
    from pipeline.thresholds import thresholds_for
    from trainer.config import TunerConfig

    adapter = data.open()
    digest = files.file_digest(data.data_dir, adapter.formats)
    if data.metadata_dir is not None:
        digest += files.file_digest(data.metadata_dir, metadata.FILES)
    trainer = _trainer_config(config)
    tuner = TunerConfig(epochs=config.epochs is None and EPOCHS not in dict(config.settings))
    if config.tune_trials is not None:
        tuner = dataclasses.replace(tuner, trials=config.tune_trials)
    data_dir = data.data_dir.resolve()
    features = features_of(adapter.spec, with_metadata=data.metadata_dir is not None)
    _check_features(config, data, features)
    example_gen = ExampleGenOptions(
        metadata_dir=str(data.metadata_dir.resolve()) if data.metadata_dir else None,
        split=config.split,
        split_seed=config.split_seed,
        invalid_zip=config.invalid_zip,
        content_digest=digest,
        max_loss=config.max_loss,
        format=data.format,
        layout=data.layout,
        # A name that was made from a folder says less than the format's.
        title=data.title if config.data_name or data.name != CUSTOM else "",
        features=features,
    )
    thresholds = thresholds_for(data.name, config.split, features)
    file = _threshold_file(config)
    if file is not None:
        thresholds = own_thresholds(file, thresholds, config.split, features)
        terminal.print(f"Your own thresholds, {file}: {describe(thresholds)}")
    schema = curated_schema(features, config.schema, paths)
    if schema.shown != SCHEMA_FILE:
        terminal.print(f"Schema: {schema.describe()}")
    kind = kinds.kind_of(config, data, paths, lambda: first_split_time(data_dir, example_gen))
    return PipelineConfig(
        data_dir=data_dir,
        example_gen=dataclasses.replace(example_gen, split_time=kind.split_time),
        trainer=trainer,
        settings=dict(config.settings),
        tuner=tuner if config.tune else None,
        new_user_folds=config.new_user_folds,
        dataset=data.to_json(),
        kind=kind,
        replace=config.replace,
        no_push=config.no_push,
        thresholds=thresholds,
        paths=paths,
        cache=config.cache,
        schema_file=schema.path,
        schema_shown=schema.shown,
    )


def _trainer_config(config: RunConfig) -> TrainerConfig:
    """Returns the hyperparameters: the shipped ones, with those that the user sets."""
    train = TrainConfig(seed=config.seed)
    if config.epochs is not None:
        train = dataclasses.replace(train, epochs=config.epochs)
    shipped = TrainerConfig(
        train=train,
        tutorial=_tutorial(config.model),
        sequence=SequenceConfig() if config.sequence else None,
    )
    return applied(shipped, dict(config.settings))


def _check_features(config: RunConfig, data: source.DataSource, features: FeatureTable) -> None:
    """Refuses options that need what the data does not have.

    Raises:
      InputError: there are such.
    """
    if config.invalid_zip == "drop" and not features.of_kind(FeatureKind.ZIP_CODE):
        raise InputError(
            "--invalid-zip drop is given, but this data has no zip codes",
            file=str(data.data_dir),
            action="leave --invalid-zip out",
        )
    if config.split != "random" and not features.has_time:
        raise InputError(
            f"--split {config.split} is given, but this data has no times",
            file=str(data.data_dir),
            expected="--split random, which alone needs no time",
            action="leave --split out, or give a column of times",
        )
    if config.sequence and not features.has_time:
        raise InputError(
            "--sequence is given, but this data has no times: there are no sessions",
            file=str(data.data_dir),
            expected="a column of times",
            action="leave --sequence out, or give a column of times",
        )
    if config.model in ("joint", "rating") and not features.has_rating:
        raise InputError(
            f"--model {config.model} predicts ratings, but this data has none",
            file=str(data.data_dir),
            expected="--model hybrid or --model retrieval",
            action="leave --model out, or give a column of ratings",
        )


def _tutorial(model: Model) -> TutorialConfig | None:
    """Returns the configuration of one of the TFRS tutorial's models; None for the hybrid model."""
    weights = {"joint": (1.0, 1.0), "retrieval": (1.0, 0.0), "rating": (0.0, 1.0)}
    if model not in weights:
        return None
    retrieval, rating = weights[model]
    return TutorialConfig(retrieval_weight=retrieval, rating_weight=rating)


def _publish(found: Path, path: Path) -> None:
    """Copies a file, replacing the target atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with storage.publish_file(path) as target, found.open("rb") as stream:
        shutil.copyfileobj(stream, target)


def error_to_print(error: Exception, paths: OutputPaths) -> Exception:
    """Returns the error to print: a full disk or a broken store becomes an `InputError`."""
    if isinstance(error, PipelineError):
        return error
    if _is_full_disk(error):
        return output_folder.disk_full(paths.root)
    if isinstance(error, PathError):
        return InputError(str(error))
    # By name, since the module is imported only if a store was opened.
    of_the_store = type(error).__module__.startswith("ml_metadata.")
    if of_the_store or str(error).startswith(_SIGN_OF_THE_STORE):
        return cache_store.unusable(paths.metadata, (str(error).splitlines() or [""])[0][:300])
    return error


def explain(error: BaseException, paths: OutputPaths) -> str:
    """Returns the message of a failure: a few lines without a stack trace."""
    if isinstance(error, PipelineError):
        return str(error)
    what = (str(error).strip().splitlines() or [""])[0][:300]
    return f"Unexpected failure: {type(error).__name__}: {what}\n  the detail is in {paths.log}"


# Of errors in Beam's workers, TensorFlow and the metadata store's SQLite only the text is known.
_SIGN_OF_THE_STORE = "Error when executing query"
_SIGNS_OF_A_FULL_DISK = ("No space left on device", "database or disk is full")


def _is_full_disk(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            return True
        if any(sign in str(error) for sign in _SIGNS_OF_A_FULL_DISK):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def _saying_what_cannot_be_written(terminal: Terminal) -> Iterator[None]:
    """Prints, instead of failing, that summary or report cannot be written."""
    try:
        yield
    except (OSError, PathError) as error:
        _logger.exception("A result could not be written")
        if not isinstance(error, OSError) or error.errno not in FULL_DISK:
            what = str(error).splitlines()[0]
            terminal.print(f"A result could not be written: {what}", style="yellow")


def _as_json(config: RunConfig) -> dict[str, object]:
    values = {**dataclasses.asdict(config), "settings": dict(config.settings)}
    return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}

"""The kind of a run: data set and split, by which models replace each other."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from components.pusher.kind import Kind, read_kind, read_served
from components.pusher.publish import newest_version
from pipeline.config import OutputPaths, RunConfig
from sources.errors import InputError
from sources.names import CUSTOM, SAMPLE
from sources.source import DataSource

_NAME_LENGTH = 40


def kind_of(
    config: RunConfig, data: DataSource, paths: OutputPaths, first_time: Callable[[], int]
) -> Kind:
    """Returns the kind of a run.

    The name of the user's own data is `--data-name`; else the name recorded when a model of the
    same folder was pushed here; else one made from the folder's path. It does not depend on the
    files' content, except that MovieLens-100K is recognised by it: more rows tomorrow are of the
    same kind.

    The test split of a timeline begins at `--split-time`; else at the time of the served model, so
    that it stays the same when there are more ratings; else at `first_time()`.

    Args:
      config: the run's options.
      data: where the data was found.
      paths: of the output directory.
      first_time: returns the time after 80 % of the ratings.
    """
    name, place = _name_and_place(config, data, paths)
    kind = Kind(name, config.split, config.split_seed, data_dir=place)
    if config.split != "timeline":
        return kind
    time = config.split_time
    if time is None:
        time = _served_split_time(kind, paths)
    return dataclasses.replace(kind, split_time=first_time() if time is None else time)


def _served_split_time(kind: Kind, paths: OutputPaths) -> int | None:
    """Returns the time at which the served model's timeline is split, if there is one."""
    served = read_served(paths.serving_model, newest_version(paths.serving_model))
    times = [
        found.split_time
        for found in served.kinds
        if dataclasses.replace(kind, split_time=found.split_time) == found
    ]
    return next(iter(times), None)


def name_of(config: RunConfig, data: DataSource, paths: OutputPaths) -> str:
    """Returns what the data of a run is called: in its kind, and wherever people read of it."""
    return _name_and_place(config, data, paths)[0]


def _name_and_place(
    config: RunConfig, data: DataSource, paths: OutputPaths
) -> tuple[str, str | None]:
    given = config.given_data
    if given is None:
        return data.name, None
    if data.name == SAMPLE:
        _refuse_name_of_sample(config.data_name)
        return SAMPLE, None
    # Not resolved: a link that is set to another day's folder every day is the same place.
    place = os.path.abspath(given.expanduser())  # noqa: PTH100 - links stay
    recorded = read_kind(paths.serving_model)
    if config.data_name is not None:
        return config.data_name, place
    if recorded is not None and recorded.data_dir == place:
        return recorded.dataset, place
    if data.name != CUSTOM:
        return data.name, None
    return name_of_folder(place), place


def _refuse_name_of_sample(name: str | None) -> None:
    """Refuses a name for a generated sample, whose models never replace those of real data.

    Raises:
      InputError: there is a name.
    """
    if name is not None:
        raise InputError(
            "--data-name is given for a generated sample",
            expected="a name for your own data",
            found=f"--data-name {name}, and a folder of invented data",
            action="leave --data-name out, or give the folder of your own data",
        )


def name_of_folder(place: str) -> str:
    """Returns a name for the data in a folder: the folder's name and a hash of its whole path."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(place).name).strip("-._")[:_NAME_LENGTH]
    digest = hashlib.blake2b(os.fsencode(place), digest_size=4).hexdigest()
    return f"{readable or 'data'}-{digest}"

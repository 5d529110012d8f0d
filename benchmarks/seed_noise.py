"""Standard deviation of metrics over training seeds: fits to `train`, evaluates on `validation`.

`.venv/bin/python -m benchmarks.seed_noise --seeds 42 43 44` after a run of the pipeline, whose
ratings, catalogue and preprocessing graph it uses. Every part of the model is trained once per
seed; the split stays the same. Thresholds on changes must be wider than what it prints.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from components import names
from components.evaluation.directions import LOWER_IS_BETTER
from components.examples.events import USERS, event_files
from components.examples.reading import files_of_split
from pipeline.config import OutputPaths


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Returns mean and standard deviation (n - 1 in the denominator); at least two values."""
    return statistics.fmean(values), statistics.stdev(values)


def table(by_seed: Sequence[Mapping[str, float]], allowed: Mapping[str, float]) -> str:
    """Returns mean, standard deviation and what change thresholds allow, a line per metric."""
    lines = [f"{'metric on validation':28}{'mean':>9}{'sd':>9}{'allowed':>9}  allowed / sd"]
    for name in by_seed[0]:
        mean, deviation = spread([metrics[name] for metrics in by_seed])
        line = f"{name:28}{mean:9.4f}{deviation:9.4f}"
        if name in allowed:
            sign = "+" if name in LOWER_IS_BETTER else "-"
            ratio = f"{allowed[name] / deviation:.1f}" if deviation else "inf"
            line += f"{sign + format(allowed[name], 'g'):>9}  {ratio}"
        lines.append(line)
    return "\n".join(lines)


def _artifacts(root: Path, component: str, output: str) -> Path:
    found = [path for path in (root / component / output).glob("*") if path.name.isdecimal()]
    if not found:
        raise FileNotFoundError(f"expected artifacts of {component} in {root}: run the pipeline")
    return max(found, key=lambda path: int(path.name))


def _splits(folder: Path) -> dict[str, list[str]]:
    return {
        split.name.removeprefix("Split-"): sorted(str(path) for path in split.glob("*.gz"))
        for split in folder.glob("Split-*")
    }


def measure(root: Path, seed: int) -> Mapping[str, float]:
    """Returns the metrics of a model trained with a seed on the artifacts of a run."""
    from schema.features import MOVIELENS
    from trainer import tuning
    from trainer.config import TrainConfig, TrainerConfig

    ratings = _artifacts(root, names.RATINGS_GEN, "examples")
    config = TrainerConfig(train=dataclasses.replace(TrainConfig(), seed=seed))
    evaluate = tuning.evaluation(
        config,
        {split: event_files(ratings, split) for split in names.SPLITS},
        _splits(ratings),
        files_of_split(ratings / USERS),
        _splits(_artifacts(root, names.MOVIES_GEN, "examples"))[names.MOVIES],
        str(_artifacts(root, names.TRANSFORM, "transform_graph")),
        MOVIELENS,
    )
    found = evaluate(config, lambda line: None)
    return {name: value for name, value in found.items() if name != tuning.SCORE}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog=".venv/bin/python -m benchmarks.seed_noise", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--output-dir", type=Path, default=Path("output"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    parser.add_argument("--json", type=Path, help="also write every seed's metrics here")
    options = parser.parse_args(arguments)
    if len(set(options.seeds)) < 2:
        parser.error("--seeds: expected at least two different ones")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from components.evaluation.config import Thresholds

    by_seed = []
    for number, seed in enumerate(options.seeds, 1):
        started = time.process_time()
        try:
            by_seed.append(measure(OutputPaths(options.output_dir).pipeline_root, seed))
        except FileNotFoundError as error:
            parser.error(str(error))
        seconds = time.process_time() - started
        print(
            f"seed {seed}, {number} of {len(options.seeds)}: {seconds:.0f} CPU s", file=sys.stderr
        )
    if options.json:
        document = dict(zip(map(str, options.seeds), by_seed, strict=True))
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(table(by_seed, Thresholds().allowed_worsening()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What results.md says around its tables, and the capstone's metrics."""

from __future__ import annotations

from collections.abc import Mapping

_Reported = tuple[float, float, float]

_TUNED: _Reported = (0.9544, 0.96, 1.11)
CAPSTONE: dict[str, tuple[str, _Reported]] = {
    "tutorial_rating": ("rating-specialised", (0.1153, 0.236, 1.071)),
    "tutorial_retrieval": ("retrieval-specialised", (0.0013, 0.058, 3.691)),
    "tutorial_joint": ("joint", (0.1474, 0.285, 1.087)),
    "tutorial_leak": ("**LEAKING** query tower", _TUNED),
    "ours": ("hybrid: ours", _TUNED),
}
"""By method: what its row is called, and the top-10, top-100 and RMSE the capstone reported."""

SUMMARY_TITLE = "Summary: what a user gets"
TESTS_TITLE = "Rows and users of each test"
NEXT_VISIT_TITLE = "Recommendations at the next visit"
RATINGS_TITLE = "Ratings at the next visit"
NEW_USERS_TITLE = "NDCG@10 of the lists of new users"
IN_SESSION_TITLE = "In session"
CAPSTONE_TITLE = "The capstone's models"
CHOICES_TITLE = "Hyperparameters tried and chosen"
MISSING_TITLE = "Not measured yet"
CROSSES_TITLE = "Feature pairs of the cross layer"
COSTS_TITLE = "Cost of one fit and its test"

DATASET_NAMES: Mapping[str, str] = {"ml-100k": "MovieLens-100K", "ml-1m": "MovieLens-1M"}

DATASET_NOTES: Mapping[str, str] = {
    "ml-100k": """\
All 100,000 ratings.

- **shuffle s**: `numpy.random.default_rng(s).permutation(100000)`; the first 80 % of the lines
  are for training, and a tenth of these, drawn by `default_rng([s, 1])`, is validation. The tests
  of shuffle 42 and of the split by time were also measured with earlier versions of ours, of BPR
  and of iALS; all hyperparameters were chosen on validation. Those chosen on shuffle 42 are used on
  shuffle 7 and on u1 to u5 as well. Some test lines of u1 to u5 are training or validation lines of
  shuffle 42, for all methods alike.
- **last 20 % of each user**: the pipeline's `--split temporal`; the 10 % before are validation.
- **u1 to u5**: the official folds; fold k's test is lines 20,000(k−1)+1 to 20,000k of `u.data`.""",
    "ml-1m": """\
All 1,000,209 ratings, 6,040 users and 3,883 movies, in the order of `ratings.dat`, which orders
ratings of one second.

**A sixth of the timestamps are interpolated.** In the copy that was measured, all ratings and the
order of each user's ratings are exact. Of 176,115 ratings (users 3000 to 6040, 1 to 3 stars, before
December 2000) the time was lost; it is interpolated between the times of real neighbours (median
error 17 seconds where it could be checked, 97.7 % on the right day). Splits by global time and by
each user's last ratings are exact. Metrics in session are given for both groups of users.

- **the pipeline's random split**: `--split random`, 70 % train, 10 % validation, 20 % test by a
  hash of user and movie.
- **from S of all time on, known users**: the pipeline's timeline. The test begins at the time by
  which a share S of all ratings was given; validation is the last eighth before. Test rows are
  those of users with a rating before the test.
- **last rating of each user**: `--split leave-one-out`; the rating before is validation.

These tests were also measured with earlier versions of ours; all hyperparameters were chosen on
validation.""",
}
"""Description of each data set and its splits."""

INTRODUCTION = """\
# Results

Written by `make compare`; do not edit. Every row of a test counts, and ties count against the
method. The same tables are in `results.json`.

- **Scenarios.** At the *next visit* a known user returns later: the model has the history, no time
  of the query and no session. That is the default of the application. *In session* the same model
  has the time of the row and the ratings just before it. A *new user* has no training ratings and
  names some movies, or none.
- **Lists** are filtered: movies that the user rated in the training rows are removed. recall@k:
  share of test rows whose movie is among the first k. MRR: mean of 1/rank. NDCG@10 of users: DCG@10
  of the user's list over that of the best order (Järvelin & Kekäläinen 2002), mean over users.
  recall@10 of users: hits over min(10, test movies) (Liang et al. 2018), mean over users. NDCG@10
  of rows: mean of 1/log2(rank + 1) up to rank 10.
- **Ratings**: RMSE on the test rows, predictions clipped to 1 to 5 stars.
- **Choices** are made on validation, under the same split and scenario; the final fit takes train
  and validation; the test is measured once.
- **Differences** are paired by user: the middle 95 % of 400 draws of users, the same for both
  methods (mean of ours over its seeds). An interval that contains 0 is called "within noise"."""

NOTES: dict[str, str] = {
    SUMMARY_TITLE: (
        "Ours is the mean over seeds where there are several. The strongest baseline is the one "
        "that is best *on this test*, row by row, which favours the baselines. None of them "
        "uses times, except the factorisation machine with the day."
    ),
    TESTS_TITLE: (
        "A list that depends on the user alone has the same ten movies for each of the user's test "
        "rows, so at most ten of these rows are hits. The last column is the highest possible "
        "recall@10: the sum over users of min(10, test rows) over all rows."
    ),
    f"{NEXT_VISIT_TITLE}, shuffle 7": "Hyperparameters chosen on shuffle 42.",
    RATINGS_TITLE: (
        "LightFM (WARP) is not among the baselines: its last release, 1.17, does not build with "
        "present setuptools (its `setup.py` takes `__builtins__` for a module). Those of "
        "`surprise` are measured on MovieLens-100K only, for their time."
    ),
    NEW_USERS_TITLE: (
        "Rotating folds of users (five on MovieLens-100K, two on MovieLens-1M) are held out of the "
        "fit. Each user names the first n movies, in the order of their ratings, that they rated "
        "at least their own mean; everything else that they rated is to be found. Users with fewer "
        "such movies are left out. Ours is the answer of the `recommend` signature to the profile "
        "and the named movies, with ratings and without times; the baselines have the movies only. "
        "Hyperparameters are those of the next visit."
    ),
    IN_SESSION_TITLE: (
        "**On random splits these metrics say little about use.** Of a random test, seven of eight "
        "rows have a training rating of the same user within a minute, before or *after* them: the "
        "metrics measure in which order MovieLens showed its pages. On splits by time nothing "
        "later of the user is known. Each row has a list of its own, so there are no metrics of "
        "users' lists. *With --sequence*: the same model with the sequence block beside its towers."
    ),
    CAPSTONE_TITLE: (
        "Left, what the capstone reported; right, the same kind of model here: the two towers "
        "and the rating network of the TensorFlow Recommenders multi-task tutorial (`--model "
        "{rating,retrieval,joint}` of the pipeline), and the hybrid model in place of the tuned "
        "one. The capstone's lists hold movies that the user has rated as well: top-10 and top-100 "
        "are measured so, recall@10 and recall@100 in filtered lists. Its metrics are of its own "
        "split and on 97,914 rows, so compare magnitudes."
    ),
    CROSSES_TITLE: (
        "What feature g adds to feature f in the deep & cross network is e_f ∘ W_fg e_g; the "
        "strength of a pair is the root of the mean squared length of it over training ratings, "
        "both directions together. The capstone drew its cross weights and found user id × movie "
        "id to matter most. The pair of the ids is always shown."
    ),
    COSTS_TITLE: (
        "Median on the machine that made this page. It measures baselines and ours at the same "
        "time, so compare processor seconds. The baselines use one thread; choosing their "
        "hyperparameters took as many such fits as the last table says. Ours includes "
        "reading, the preprocessing graph and the answers; training alone is the row below it."
    ),
    CHOICES_TITLE: "By recall@10 for recommendations and by RMSE for ratings, on validation.",
}
"""Text above a table, by the beginning of its title."""

AFTER: dict[str, str] = {
    CAPSTONE_TITLE: """\
**Two of the capstone's rows were swapped.** Its rating-specialised model is reported to retrieve
better than its retrieval-specialised one, in top-100 by a factor of four. Trained here, it is the
other way round: a model without retrieval loss finds next to nothing, one with it alone has a much
higher top-100. An RMSE near 3.7 is that of a rating network that was never trained and predicts
about zero (clipped to the scale, as in the other tables, it is lower).

**0.95 cannot be.** Ten recommendations that depend on the user alone reach at most the "highest
recall@10" above. A top-10 accuracy of 0.95 appears as soon as the query tower is given features of
the movie that is to be predicted, as in the row marked LEAKING, whose query has genres and
release date of that movie. When recommendations are made there is no such movie, so the metric
says nothing about them. Our trainer refuses a query tower with a movie's
feature."""
}
"""Text below a table."""

FOOTER = """\
## Reproduce

```sh
export MOVIELENS_DIR=/path/to/ml-100k    # the directory of u.data
export MOVIELENS_1M_DIR=/path/to/ml-1m   # that of ratings.dat
make compare                             # MovieLens-100K; goes on where it was interrupted
make compare ARGS="--dataset ml-1m"
make compare ARGS="--only ease ials"
```

The baselines live in an environment of their own (`.venv-compare`, from `requirements/compare.txt`)
and are measured on one thread with seed 42. Measurements are kept in `output/compare`, each
in a file of its own, and repeated when hyperparameters, data or source code change
(`--any-code` keeps those of earlier code)."""

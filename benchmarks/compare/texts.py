"""What RESULTS.md says around its tables, and the capstone's figures."""

from __future__ import annotations

_Reported = tuple[float, float, float]

_TUNED: _Reported = (0.9544, 0.96, 1.11)
CAPSTONE: dict[str, tuple[str, _Reported]] = {
    "tutorial_rating": ("rating-specialised", (0.1153, 0.236, 1.071)),
    "tutorial_retrieval": ("retrieval-specialised", (0.0013, 0.058, 3.691)),
    "tutorial_joint": ("joint", (0.1474, 0.285, 1.087)),
    "tutorial_leak": ("**LEAKING** query tower", _TUNED),
    "ours": ("tuned: ours", _TUNED),
}
"""By method: what its row is called, and the top-10, top-100 and RMSE the capstone reported."""

SUMMARY_TITLE = "In short"
CAPSTONE_TITLE = "The capstone's models"
CEILING_TITLE = "The ceiling of a query that depends on the user alone"
CHOICES_TITLE = "What was tried and chosen"
CROSSES_TITLE = "What the cross layer couples"
COSTS_TITLE = "What one fit and its test cost"

INTRODUCTION = """\
# Results

Written by `make compare`; do not edit. MovieLens-100K, all 100,000 ratings; every row of a
test counts, and ties count against the method. The same tables are in `results.json`.

- **P1**: random split, rank of the test movie among all movies. **P2**: the same with the
  user's training movies removed, which is what a product shows. **P3**: each user's last 20 % by
  time is the test, training movies removed.
- **RMSE**: on the test rows, predictions clipped to 1 to 5 stars. u1 to u5 are the official
  folds: fold k's test is lines 20,000(k−1)+1 to 20,000k of `u.data`.
- **shuffle s**: `numpy.random.default_rng(s).permutation(100000)`; the first 80 % of the lines
  are for training, and a tenth of these, drawn by `default_rng([s, 1])`, is validation. Choices
  are made on validation and the final fit takes all of the 80 %. The test of shuffle 42 was looked
  at before this page was made: with two earlier versions of ours, twice with BPR, and twice
  with 128 factors of iALS; so was that of P3, with two earlier versions of ours. All choices
  were made on validation, before and after. Nobody
  made a choice on shuffle 7: values chosen on shuffle 42 are used there, and on u1 to u5 as well
  (whose tests thus hold lines that were used for choosing values, for all methods alike).
- top-k: share of test rows whose movie is among the first k. NDCG@10 of rows: mean of
  1/log2(rank + 1) up to rank 10. NDCG@10 of users: DCG@10 of the user's list over that of the
  best order (Järvelin & Kekäläinen 2002), mean over users. recall@10 of users: hits over
  min(10, test movies) (Liang et al. 2018), mean over users. The last two need one list per
  user: there are none in session, where the query depends on the time of the row."""

NOTES: dict[str, str] = {
    SUMMARY_TITLE: (
        "Ours is the mean over seeds where there are several. The strongest peer is the one "
        "that is best *on this test*, row by row, which favours the peers. **Ours** is asked as "
        "at the next visit, long after the last rating, as the peers are (the factorisation "
        "machine with the day knows the day). **In session**: the same model, told the time of "
        "the row and the ratings just before it. Most of what that adds is the order in which "
        "MovieLens showed its pages: people rated movies in that order and in bursts."
    ),
    "Retrieval, shuffle": (
        "Under P1 movies that the user has seen stay in every list, where their scores put them."
    ),
    "Retrieval, each": (
        "Values were chosen on this split's own validation, the 10 % before the test; ours has "
        "the values it always has."
    ),
    CEILING_TITLE: (
        "Such a query names the same ten movies for each of a user's test rows, so at most ten "
        "of them are hits: the sum over users of min(10, test rows) divided by all rows. Nothing "
        "without the time of the row can be above; far above it, something leaks."
    ),
    "Stars": (
        "Ours has no effect of the day or the minute of the rating, in session it has. LightFM "
        "(WARP) is not among the peers: its last release, 1.17, does not build with present "
        "setuptools (its `setup.py` takes `__builtins__` for a module)."
    ),
    CAPSTONE_TITLE: (
        "Left, what the capstone reported; right, the same kind of model here: the two towers "
        "and the rating network of the TensorFlow Recommenders multi-task tutorial (`--model "
        "{rating,retrieval,joint}` of the pipeline), and ours in place of the tuned one. The "
        "capstone's figures are on its own split and on 97,914 rows, so compare magnitudes."
    ),
    CROSSES_TITLE: (
        "What feature g adds to feature f in the deep & cross network is e_f ∘ W_fg e_g; the "
        "strength of a pair is the root of the mean squared length of it over training ratings, "
        "both directions together. The capstone drew its cross weights and found user id × movie "
        "id to matter most. Ids are shown wherever they come."
    ),
    COSTS_TITLE: (
        "Median on the machine that made this page, which measures peers and ours at the same "
        "time: compare the processor's seconds. The peers are held to one thread; choosing "
        "their values took as many such fits as the last table says. Ours includes reading, the "
        "preprocessing graph and the answers; training alone is the row below it."
    ),
    CHOICES_TITLE: ("By top-10 under P2 for retrieval and by RMSE for stars, on validation."),
}
"""What is said above a table, by the beginning of its title."""

AFTER: dict[str, str] = {
    CAPSTONE_TITLE: """\
**Two of the capstone's rows were swapped.** Its rating-specialised model is said to retrieve
better than its retrieval-specialised one, in top-100 by a factor of four. Trained here, it is the
other way round: a model without retrieval loss finds next to nothing, one with it alone has a
much higher top-100; and an RMSE near 3.7 is that of a rating network that was never trained and
says about zero (clipped to the scale, as in the other tables, it is lower).

**0.95 cannot be.** Ten recommendations that depend on the user alone reach at most the ceiling
above. A top-10 accuracy of 0.95 appears as soon as the query tower is given features of the movie
that is to be predicted, as in the row marked LEAKING, whose query is told genres and release date:
it then holds the answer. In use there is no such movie to take them from, so the figure says
nothing about recommendations. Our trainer refuses a query tower with a movie's feature."""
}
"""What is said below a table."""

FOOTER = """\
## Make them again

```sh
export MOVIELENS_DIR=/path/to/ml-100k    # the directory of u.data
make compare                             # everything; goes on where it was interrupted
make compare ARGS="--only ease ials"
```

The peers live in an environment of their own (`.venv-compare`, from `requirements/compare.txt`)
and are measured on one thread with seed 42. Measurements are kept in `output/compare`, one JSON
file each, and made again when values, data or source code change."""

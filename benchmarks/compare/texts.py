"""What RESULTS.md says around its tables, and the capstone's figures."""

from __future__ import annotations

CAPSTONE: dict[str, tuple[float, float, float]] = {
    "tutorial_rating": (0.1153, 0.236, 1.071),
    "tutorial_retrieval": (0.0013, 0.058, 3.691),
    "tutorial_joint": (0.1474, 0.285, 1.087),
    "tutorial_leak": (0.9544, 0.96, 1.11),
}
"""Top-10, top-100 and RMSE that the capstone reported, by the method beside which they stand."""

CAPSTONE_TITLE = "The capstone's models"
CHOICES_TITLE = "What was tried and chosen"

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
  are made on validation; the final fit takes all of the 80 %; the test is measured once. Nobody
  made a choice on shuffle 7: values chosen on shuffle 42 are used there, and on u1 to u5 as well
  (whose tests thus hold lines that were used for choosing values, for all methods alike).
- top-k: share of test rows whose movie is among the first k. NDCG@10 of rows: mean of
  1/log2(rank + 1) up to rank 10. NDCG@10 of users: DCG@10 of the user's list over that of the
  best order (Järvelin & Kekäläinen 2002), mean over users. recall@10 of users: hits over
  min(10, test movies) (Liang et al. 2018), mean over users. The last two need one list per
  user: there are none where the query depends on the time of the row."""

NOTES: dict[str, str] = {
    "Retrieval, shuffle": (
        "A method that knows what the user has seen can put it last: under P1 it then has its "
        "figures of P2. Ours does so (the seen block); for the others it is left as it is."
    ),
    "Retrieval, each": (
        "Values were chosen on this split's own validation: the 10 % before the test."
    ),
    "The ceiling": (
        "Such a query names the same ten movies for each of a user's test rows, so at most ten "
        "of them are hits: the sum over users of min(10, test rows) divided by all rows. Nothing "
        "without the time of the row can be above; far above it, something leaks."
    ),
    "Stars": (
        "LightFM (WARP) is not among the peers: its last release, 1.17, does not build with "
        "present setuptools (its `setup.py` takes `__builtins__` for a module)."
    ),
    CAPSTONE_TITLE: (
        "Left, what the capstone reported; right, the same kind of model here: the two towers "
        "and the rating network of the TensorFlow Recommenders multi-task tutorial. The "
        "capstone's figures are on its own split and on 97,914 rows, so compare magnitudes."
    ),
    CHOICES_TITLE: ("By top-10 under P2 for retrieval and by RMSE for stars, on validation."),
}

LEAK = """\
**Two of the capstone's rows were swapped.** Its rating-specialised model is said to retrieve
better than its retrieval-specialised one by a factor of four. Trained here, it is the other way
round: a model without retrieval loss finds next to nothing, one with it alone has a top-100 near
0.24; and an RMSE near 3.7 is that of a rating network that was never trained.

**0.95 cannot be.** Ten recommendations that depend on the user alone reach at most the ceiling
above. A top-10 accuracy of 0.95 appears as soon as the query tower is given features of the movie
that is to be predicted, as in the row marked LEAKING: the query then holds the answer. In use
there is no such movie to take them from, so the figure says nothing about recommendations. Our
trainer refuses a query tower with a movie's feature, and the Evaluator marks a top-10 above the
ceiling."""

FOOTER = """\
## Make them again

```
export MOVIELENS_DIR=...      # the directory of u.data
make compare                  # everything; goes on where it was interrupted
make compare ARGS="--only ease ials"
```

The peers live in an environment of their own (`.venv-compare`, from `requirements/compare.txt`)
and are measured on one thread with seed 42. Measurements are kept in `output/compare`, one JSON
file each, and made again when values, data or source code change."""

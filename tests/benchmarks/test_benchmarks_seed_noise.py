"""The spread between seeds, and what it refuses."""

import pytest

from benchmarks import seed_noise


def test_the_table_gives_mean_deviation_and_how_much_wider_the_threshold_is():
    by_seed = [
        {
            "next_visit_rating_rmse": 0.9,
            "in_session_rating_rmse": 1.0,
            "next_visit_recall_at_10": 0.2,
        },
        {
            "next_visit_rating_rmse": 0.91,
            "in_session_rating_rmse": 1.0,
            "next_visit_recall_at_10": 0.2,
        },
        {
            "next_visit_rating_rmse": 0.92,
            "in_session_rating_rmse": 1.0,
            "next_visit_recall_at_10": 0.2,
        },
    ]
    allowed = {"next_visit_rating_rmse": 0.005, "next_visit_recall_at_10": 0.01}
    lines = seed_noise.table(by_seed, allowed).splitlines()
    assert lines[1].split() == ["next_visit_rating_rmse", "0.9100", "0.0100", "+0.005", "0.5"]
    assert lines[2].split() == ["in_session_rating_rmse", "1.0000", "0.0000"]
    assert lines[3].split() == ["next_visit_recall_at_10", "0.2000", "0.0000", "-0.01", "inf"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "1"], "expected at least two different ones"),
        (["--seeds", "1", "1"], "expected at least two different ones"),
        (["--output-dir", "nowhere"], "expected artifacts of RatingsGen in "),
    ],
)
def test_what_cannot_be_measured_is_refused_with_a_reason(arguments, message, capsys):
    with pytest.raises(SystemExit) as refused:
        seed_noise.main(arguments)
    assert refused.value.code == 2
    assert message in capsys.readouterr().err

"""StatisticsGen: TFDV's statistics of the ratings, per split."""

"""Limits on the content of one request; beyond them the answer is 4xx, at once."""

MAX_K = 100
"""Recommendations, similar movies or search results in one answer of our own API."""

MAX_LIST = 500
"""Movies in one list of a request."""

MAX_REASONS = 5
"""Movies named as reasons for one recommendation."""

MAX_ID = 1_000
"""Characters of an id, as many as the pipeline reads."""

MAX_TEXT = 200
"""Characters of a search or of a profile's text."""

MAX_TIME = 253_402_300_799
"""The last second of the year 9999."""

MAX_AGE = 130
"""Years."""

MAX_FEATURES = 100
"""Features of a user in one request."""

MAX_NUMBER = 2**53 - 1
"""Of a feature of a user or of the context: the greatest whole number whose neighbours in JSON are
others. A greater limit could not be stated exactly."""

MAX_TENSOR_ROWS = 2_048
"""Rows of one predict call."""

MAX_TENSOR_VALUES = 100_000
"""Values of one input of a predict call."""

MAX_TENSOR_K = 10_000
"""The scalar `k` of a predict call."""

MAX_CELLS = 100_000
"""Cells in each output of one predict call: rows times movies, times reasons."""

MAX_WORK_VALUES = 10_000_000
"""Values of the largest array that the model makes for one predict call: about 40 MB."""

HISTORY_VALUES = 64
"""Values that `explain` reads for each movie of a history, at least."""

MAX_LARGE_CALLS = 4
"""Large predict calls that are under way at the same time; further ones wait."""

LARGE_CELLS = 2_000
"""Cells from which a predict call is large: its answer is written in a thread."""

LARGE_BODY = 32 << 10
"""Bytes from which a request's body is read in a thread."""

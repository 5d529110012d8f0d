"""What one request may ask for; beyond it the answer is 4xx, at once."""

MAX_K = 100
"""Recommendations, similar movies or search results in one answer of our own API."""

MAX_LIST = 500
"""Movies in one list of a request."""

MAX_REASONS = 5
"""Films named as reasons for one recommendation."""

MAX_ID = 100
"""Characters of an id."""

MAX_TEXT = 200
"""Characters of a search or of a profile's text."""

MAX_TIME = 253_402_300_799
"""The last second of the year 9999."""

MAX_AGE = 130
"""Years."""

MAX_TENSOR_ROWS = 2_048
"""Rows of one predict call."""

MAX_TENSOR_VALUES = 100_000
"""Values of one input of a predict call."""

MAX_TENSOR_K = 10_000
"""The scalar `k` of a predict call."""

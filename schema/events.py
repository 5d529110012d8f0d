"""What a user did with an item: the same in requests, signatures, folded-in users and stores.

The decided interface; code that handles events follows as it is built.
"""

from __future__ import annotations

from typing import NamedTuple

SESSION_GAP_SECONDS = 1_800
"""A session: events of one user, by time, with gaps of at most this between one and the next.

A query belongs to the session that its latest earlier events form, if the gap between the
latest of them and the query is no longer either.
"""


class Event(NamedTuple):
    """One event of one user.

    Attributes:
      item_id: text; in HTTP, signatures and files for people it is called `movie_id`.
      timestamp: unix seconds; None where not known.
      rating: stars; None where the user gave none.
      event_type: what was done, such as "rated" or "clicked"; None for a rating.
      position: index in the list or file that the event came from. It orders events of one
        second and is never sent.
    """

    item_id: str
    timestamp: int | None = None
    rating: float | None = None
    event_type: str | None = None
    position: int = 0

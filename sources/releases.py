"""The releases of MovieLens that GroupLens publishes, by the name in `--dataset`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from sources import movielens_csv, movielens_dat
from sources.names import ML_100K as ML_100K_NAME

LICENCE_NOTE = """\
MovieLens-100K is for research use and may not be redistributed, nor used commercially, \
without permission of GroupLens (see README in the data directory). Please cite:
F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. \
ACM TiiS 5, 4, Article 19. https://doi.org/10.1145/2827872"""


@dataclasses.dataclass(frozen=True)
class Archive:
    """A zip file that holds a data set.

    Attributes:
      name: what people call it.
      url: where it is.
      folder: the name of the directory in the cache.
      files: what is taken out of it; all of it must be there. Its README is taken as well.
      md5: of the zip file (hex); None: the one that is published beside it, if there is one.
      ratings_md5: of `u.data` (hex); None: not known.
      max_megabytes: a larger zip file is refused.
    """

    name: str
    url: str
    folder: str
    files: tuple[str, ...]
    md5: str | None = None
    ratings_md5: str | None = None
    max_megabytes: int = 50


_BASE = "https://files.grouplens.org/datasets/movielens"
_DAT = (movielens_dat.RATINGS, movielens_dat.MOVIES)
_CSV = (movielens_csv.RATINGS, movielens_csv.MOVIES, movielens_csv.LINKS)

ML_100K = Archive(
    name="MovieLens-100K",
    url=f"{_BASE}/ml-100k.zip",
    folder=ML_100K_NAME,
    files=("u.data", "u.user", "u.item", "u.genre", "u.occupation", "u.info", "README"),
    md5="0e33842e24a9c977be4e0107933c0723",
    ratings_md5="6e47046882bad158b0efbb84cd5cb987",
)


def _archive(folder: str, name: str, files: tuple[str, ...], max_megabytes: int = 50) -> Archive:
    return Archive(name, f"{_BASE}/{folder}.zip", folder, files, max_megabytes=max_megabytes)


ARCHIVES: Mapping[str, Archive] = {
    one.folder: one
    for one in (
        ML_100K,
        _archive("ml-1m", "MovieLens-1M", (*_DAT, movielens_dat.USERS)),
        _archive("ml-10m", "MovieLens-10M", _DAT, 200),
        _archive("ml-20m", "MovieLens-20M", _CSV, 600),
        _archive("ml-25m", "MovieLens-25M", _CSV, 800),
        _archive("ml-32m", "MovieLens-32M", _CSV, 800),
        _archive("ml-latest", "MovieLens latest", _CSV, 1_200),
        _archive("ml-latest-small", "MovieLens latest-small", _CSV),
    )
}
"""What can be downloaded. GroupLens publishes MD5 sums beside its zip files; but for that of
MovieLens-100K none is repeated here."""

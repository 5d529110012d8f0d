"""Invented titles and names for the sample data set; no movie or person is real."""

from __future__ import annotations

import dataclasses

import numpy as np

_STARTS = (
    "Bel", "Bré", "Cal", "Dor", "Drav", "El", "Fen", "Gal", "Hal", "Ist", "Jor", "Kel",
    "Lör", "Mar", "Nol", "Or", "Per", "Quil", "Ros", "Sör", "Tal", "Ul", "Ver", "Zan",
)  # fmt: skip
_MIDDLES = ("a", "e", "i", "o", "u", "ando", "eri", "ilo", "ona", "uva", "ésa", "imo")
_ENDS = (
    "bar", "canth", "dell", "dris", "fane", "goth", "lune", "mar", "mora", "nesse",
    "phar", "quen", "rique", "sk", "thal", "vane", "wick", "zolle",
)  # fmt: skip
_THINGS = (
    ("Lantern", "La Lanterne"), ("River", "La Rivière"), ("Winter", "Le Hiver"),
    ("Clockmaker", "Le Horloger"), ("Window", "La Fenêtre"), ("Forest", "La Forêt"),
    ("Summer", "Le Été"), ("Orchard", "Le Verger"), ("Letter", "La Lettre"),
    ("Island", "La Île"), ("Widow", "La Veuve"), ("Light", "La Lumière"),
    ("Thief", "Le Voleur"), ("Castle", "Le Château"), ("Engine", "Le Moteur"),
    ("Shadow", "Le Ombre"), ("Student", "Le Étudiant"), ("Ferry", "Le Bac"),
    ("Secret", "Le Secret"), ("Baker", "Le Boulanger"), ("Comet", "La Comète"),
    ("Mirror", "Le Miroir"), ("Voyage", "Le Voyage"), ("Garden", "Le Jardin"),
)  # fmt: skip
_VOWELS = "AEIOUÉÎH"
_GIVEN = (
    "Ada", "Anselm", "Béatrice", "Bruno", "Clio", "Corin", "Dagny", "Emil", "Fenna",
    "Gaspar", "Hedda", "Ines", "Joris", "Katya", "Leon", "Mirela", "Nils", "Odile",
    "Pavel", "Quentin", "Renée", "Sören", "Tamsin", "Ulla", "Viggo", "Wanda", "Yusuf",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Title:
    """The ways one movie's title is written; none holds the year.

    Attributes:
      listed: as in MovieLens: article last, the original title in brackets.
      english: as in movie metadata.
      original: the original title, often the same as the English one.
    """

    listed: str
    english: str
    original: str


def make_titles(rng: np.random.Generator, count: int) -> list[Title]:
    """Returns `count` titles, all different."""
    titles: dict[str, Title] = {}
    while len(titles) < count:
        drawn = rng.integers(0, 1 << 30, size=(count, 3))
        for shape, thing, place in drawn.tolist():
            title = _make_title(shape % 20, _THINGS[thing % len(_THINGS)], _place(place))
            titles.setdefault(title.english, title)
            if len(titles) == count:
                break
    return list(titles.values())


def person_name(number: int, *, family: int) -> str:
    """Returns the name of person `number`; names differ within a `family`, 0 to 5."""
    given = _GIVEN[number % len(_GIVEN)]
    surname = _place(number // len(_GIVEN) * 1201 + family * 929)
    return f"{given} O'{surname}" if number % 41 == 7 else f"{given} {surname}"


def _place(number: int) -> str:
    number, start = divmod(number, len(_STARTS))
    number, middle = divmod(number, len(_MIDDLES))
    return _STARTS[start] + _MIDDLES[middle] + _ENDS[number % len(_ENDS)]


def _make_title(shape: int, thing: tuple[str, str], place: str) -> Title:
    """Returns one title; `shape`, 0 to 19, decides how it is built."""
    english, foreign = thing
    if shape < 7:
        bare = f"{english} of {place}"
        return Title(f"{bare}, The", f"The {bare}", f"The {bare}")
    if shape < 9:
        bare = f"{english} for {place}"
        article = "An" if english[0] in _VOWELS else "A"
        return Title(f"{bare}, {article}", f"{article} {bare}", f"{article} {bare}")
    if shape < 11:
        return _foreign_title(english, foreign, place)
    if shape < 15:
        return _same(f"{place} {english}s")
    if shape < 17:
        return _same(f"{english} & {place}")
    return _same(f"{place}: The {english}")


def _foreign_title(english: str, foreign: str, place: str) -> Title:
    article, word = foreign.split(" ", 1)
    bare = f"{word} de {place}"
    if word[0] in _VOWELS:
        article, original = "L'", f"L'{bare}"
    else:
        original = f"{article} {bare}"
    title = f"The {english} from {place}"
    return Title(f"{english} from {place}, The ({bare}, {article})", title, original)


def _same(title: str) -> Title:
    return Title(title, title, title)

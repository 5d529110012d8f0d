"""Display titles: the article in front, nothing else changed."""

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.catalogue import Catalogue, Movie
from serving.titles import display_title


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Godfather, The (1972)", "The Godfather (1972)"),
        ("Godfather: Part II, The (1974)", "The Godfather: Part II (1974)"),
        ("Close Shave, A (1995)", "A Close Shave (1995)"),
        ("American in Paris, An (1951)", "An American in Paris (1951)"),
        ("Femme Nikita, La (1990)", "La Femme Nikita (1990)"),
        ("Misérables, Les (1995)", "Les Misérables (1995)"),
        ("Enfer, L' (1994)", "L'Enfer (1994)"),
        ("Enfer, L’ (1994)", "L’Enfer (1994)"),
        ("Postino, Il (1994)", "Il Postino (1994)"),
        ("Vitelloni, I (1953)", "I Vitelloni (1953)"),
        ("Boot, Das (1981)", "Das Boot (1981)"),
        ("Quatrilho, O (1995)", "O Quatrilho (1995)"),
        ("Niños, Los", "Los Niños"),
        ("Good, the Bad and the Ugly, The (1966)", "The Good, the Bad and the Ugly (1966)"),
        ("MATRIX, THE (1999)", "THE MATRIX (1999)"),
        ("Tin Drum, The (Blechtrommel, Die) (1979)", "The Tin Drum (Die Blechtrommel) (1979)"),
        ("Star Maker, The (Uomo delle stelle, L') (1995)",
         "The Star Maker (L'Uomo delle stelle) (1995)"),
        ("Vitelloni, I (a.k.a. Young and the Passionate, The) (1953)",
         "I Vitelloni (a.k.a. The Young and the Passionate) (1953)"),
        ("Hate (Haine, La) (1995)", "Hate (La Haine) (1995)"),
    ],
)  # fmt: skip
def test_a_trailing_article_comes_first_in_every_name_of_the_movie(title, shown):
    assert display_title(title) == shown


@pytest.mark.parametrize(
    "title",
    [
        "",
        "Toy Story (1995)",
        "The Godfather (1972)",
        "Paris, Texas (1984)",
        "Murder, My Sweet (1944)",
        "Corrina, Corrina (1994)",
        "Cry, the Beloved Country (1995)",
        "Sex, Lies, and Videotape (1989)",
        "Truth or Consequences, N.M. (1997)",
        "Me, Myself, I (2000)",
        "Seven (a.k.a. Se7en) (1995)",
        "Seven (Se7en), the (1995)",
        ", The",
        "The",
        "Foo, The, A",
        "(500) Days, The",
    ],
)
def test_a_title_without_a_trailing_article_is_as_it_was(title):
    assert display_title(title) == title


WORDS = st.sampled_from(
    [
        "The",
        "A",
        "L'",
        "I",
        "Foo",
        "(1999)",
        "(",
        ")",
        ",",
        ", The",
        ", A",
        "a.k.a.",
        "\n",
        "\u00a0",
    ]
)
TITLES = st.text() | st.lists(WORDS).map(" ".join) | st.lists(WORDS).map("".join)


@given(TITLES)
@example("Foo, The, A")
@example(", The , The")
@example("a.k.a. Foo, The")
@example("(Foo, The), A (Bar, L')")
def test_twice_is_as_once_and_no_character_is_lost(title):
    shown = display_title(title)
    assert display_title(shown) == shown
    lost = Counter(title) - Counter(shown)
    assert set(lost) <= {","} | {char for char in lost if char.isspace()}
    assert not [char for char in Counter(shown) - Counter(title) if not char.isspace()]
    if "," not in title:
        assert shown == title


@pytest.mark.parametrize("piece", [" ", ",", ", ", "(", "a.k.a. ", ", The", "a"])
def test_long_titles_take_linear_time(piece):
    # In the square of the length this would take hours.
    title = piece * 1_000_000
    assert display_title(title)
    assert display_title(f"x{title}, The")


def test_search_finds_a_title_in_both_forms_at_the_beginning():
    wanted = Movie("1", "Godfather, The (1972)")
    other = Movie("2", "My Friend the Godfather, The Second (1990)", ratings=100)
    catalogue = Catalogue([other, wanted])
    for query in ("the godfather", "godfather, the", "Godfather", "the godfather 1972"):
        assert catalogue.search(query, 5)[0][0] == wanted
    assert catalogue.search("the godf", 5)[1] == 2

"""Movies that users have rated, in whatever split, are not recommended to them, through HTTP."""

import pytest

pytestmark = pytest.mark.xdist_group("serving")

ROWS = 32


def rated_movies(u_data):
    """Movies by user in a file of MovieLens-100K; ratings out of range are dropped on reading."""
    found = {}
    for line in u_data.read_text(encoding="latin-1").splitlines():
        user, movie, stars, _ = line.split("\t")
        if 1 <= float(stars) <= 5:
            found.setdefault(user, set()).add(movie)
    return found


def recommended(client, users, k):
    """The first k movies of each user, all users in one request."""
    inputs = {
        "user_id": users, "raw_user_age": [0] * len(users), "user_gender": [""] * len(users),
        "user_occupation_text": [""] * len(users), "user_zip_code": [""] * len(users),
        "timestamp": [0] * len(users), "recent_movie_ids": [[""]] * len(users),
        "recent_timestamps": [[0]] * len(users), "recent_ratings": [[0]] * len(users),
        "k": k, "exclude_movie_ids": [[""]] * len(users), "exclude_seen": True,
    }  # fmt: skip
    body = {"signature_name": "recommend", "inputs": inputs}
    answer = client.post("/v1/models/movielens:predict", json=body)
    assert answer.status_code == 200, answer.text
    outputs = answer.json()["outputs"]
    rows = zip(outputs["movie_id"], outputs["count"], strict=True)
    return [movies[:count] for movies, count in rows]


def test_every_user_is_recommended_all_movies_but_those_that_they_have_rated(
    client, pushed, catalogue
):
    rated = rated_movies(next((pushed / "data").rglob("u.data")))
    movies = {movie["movie_id"] for movie in catalogue}
    users = sorted(rated)
    for start in range(0, len(users), ROWS):
        chunk = users[start : start + ROWS]
        for user, found in zip(chunk, recommended(client, chunk, len(movies)), strict=True):
            assert len(found) == len(set(found))
            assert set(found) == movies - rated[user], user


def test_a_list_of_the_api_has_no_movie_that_the_user_has_rated(client, pushed):
    rated = rated_movies(next((pushed / "data").rglob("u.data")))
    for user in sorted(rated)[:3]:
        answer = client.get(f"/api/users/{user}/recommendations", params={"k": 100})
        shown = {movie["movie_id"] for movie in answer.json()["recommendations"]}
        assert shown
        assert not shown & rated[user], user

"""The strengths of the crosses against the kernel itself, and their metadata."""

import json

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import cross_weights

pytestmark = pytest.mark.xdist_group("trainer")


@pytest.fixture(scope="module")
def strengths(trained):
    path = trained.path / "assets.extra" / "cross_weights.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def embedded(trained):
    """{feature: (first column, vectors [ratings, width])}, from the tables alone."""
    network = trained.serving.rating.network
    held = trained.interactions
    user = {name: column[held.user_row] for name, column in trained.users.features.items()}
    movie = trained.catalogue.features
    users = {"user id": network.users.numpy()[user["user_id_index"]]}
    movie_id = np.asarray(movie["movie_id_index"])[held.movie_row]
    movies = {"movie id": network.movies.numpy()[movie_id]}
    for name, table in network.profile.tables.items():
        users[name] = table.numpy()[user[name]]
    for name, table in network.movie_profile.tables.items():
        of_movie = np.stack([table.numpy()[row].reshape(-1, 8).sum(0) for row in movie[name]])
        movies[name] = of_movie[held.movie_row]
    choices, viewers = network.user_components.numpy(), network.movie_components.numpy()
    users["user's choices"] = choices[user["user_id_index"]] @ network.user_projection.kernel
    movies["movie's viewers"] = viewers[movie_id] @ network.movie_projection.kernel
    product = sum(map(np.asarray, users.values())) * sum(map(np.asarray, movies.values()))
    times = {name: t.numpy()[held.context[name]] for name, t in network.context.tables.items()}
    blocks = [users, movies, {"user x movie": product}, times]
    return {
        name: (8 * number, np.asarray(vectors, np.float64))
        for number, block in enumerate(blocks)
        for name, vectors in block.items()
    }


@pytest.fixture(scope="module")
def kernel(trained):
    """W of x ∘ (W x + b), `[to, from]`, from the layer's two factors."""
    into, out_of = (w.numpy() for w in trained.serving.rating.network.cross.weights[:2])
    return (into.astype(np.float64) @ out_of).T


def added(embedded, kernel, one, other):
    """What `other` adds to `one` in the cross layer, rating by rating: `[ratings, width]`."""
    to, of = embedded[one], embedded[other]
    rows = slice(to[0], to[0] + to[1].shape[1])
    columns = slice(of[0], of[0] + of[1].shape[1])
    return to[1] * np.einsum("fg,ng->nf", kernel[rows, columns], of[1])


def test_strengths_are_what_each_pair_adds_by_the_kernel(strengths, embedded, kernel):
    assert strengths["blocks"] == list(embedded)
    expected = [
        [
            np.sqrt(np.mean(np.sum(added(embedded, kernel, one, other) ** 2, axis=1)))
            for other in embedded
        ]
        for one in embedded
    ]
    np.testing.assert_allclose(strengths["norms"], expected, rtol=1e-3, atol=1e-6)


def test_the_pairs_together_are_what_the_layer_adds(trained, embedded, kernel):
    width = kernel.shape[0]
    inputs, total = np.zeros([2, len(trained.interactions), width])
    for one, (start, vectors) in embedded.items():
        inputs[:, start : start + vectors.shape[1]] += vectors
        for other in embedded:
            pair = added(embedded, kernel, one, other)
            total[:, start : start + pair.shape[1]] += pair
    cross = trained.serving.rating.network.cross
    bias = cross.weights[2].numpy()
    found = cross(tf.constant(inputs, tf.float32)).numpy()
    np.testing.assert_allclose(found, inputs + inputs * bias + total, atol=1e-5)


def test_pairs_are_printed_strongest_first_with_both_directions_counted(tmp_path, capsys):
    weights = {
        "blocks": ["user id", "movie id", "user x movie"],
        "norms": [[0.0, 3.0, 0.0], [4.0, 1.0, 0.0], [2.0, 0.0, 6.0]],
    }
    assert cross_weights.strongest(weights)[:4] == [
        (6.0, "user x movie", "user x movie"),
        (5.0, "user id", "movie id"),
        (2.0, "user id", "user x movie"),
        (1.0, "movie id", "movie id"),
    ]
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "cross_weights.json").write_text(json.dumps(weights))
    assert cross_weights.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "   2    5.0000  user id × movie id" in printed
    assert "strongest is number 2" in printed


def test_a_folder_without_crosses_is_named(tmp_path, capsys):
    assert cross_weights.main([str(tmp_path)]) == 2
    assert "cross_weights.json, found nothing" in capsys.readouterr().err


def test_every_feature_of_the_model_is_known_to_the_command(strengths):
    named = {*cross_weights.USER, *cross_weights.MOVIE, "user x movie"}
    assert {"time_bucket", "hour_of_day", "day_of_week"} == set(strengths["blocks"]) - named
    assert named <= set(strengths["blocks"])

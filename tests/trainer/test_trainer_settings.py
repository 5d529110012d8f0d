"""Hyperparameters by name: which there are, how values are read, what is refused."""

import dataclasses
from pathlib import Path

import pytest

from sources.errors import InputError
from trainer import settings
from trainer.config import TrainerConfig

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "settings.md"


def test_named_values_are_changed_and_no_others():
    shipped = TrainerConfig()
    found = settings.applied(
        shipped,
        settings.parse(
            ["model.truncated_share=0.5", "trainer.epochs=3", "model.rating_dropout=0,0.1,.25"]
        ),
    )
    assert found == dataclasses.replace(
        shipped,
        model=dataclasses.replace(
            shipped.model, truncated_share=0.5, rating_dropout=(0.0, 0.1, 0.25)
        ),
        train=dataclasses.replace(shipped.train, epochs=3),
    )
    assert isinstance(found.train.epochs, int)
    assert settings.applied(shipped, {}) == shipped


def test_every_field_of_the_configuration_can_be_set_to_its_shipped_value():
    available = settings.available()
    fields = {
        f"{group}.{field.name}"
        for group, config in settings.GROUPS.items()
        for field in dataclasses.fields(config)
    }
    assert set(available) == fields - set(settings.OTHER_OPTIONS)
    as_text = settings.parse(settings.listing().splitlines())
    assert as_text == {name: one.default for name, one in available.items()}
    for name, value in as_text.items():
        assert type(value) is type(available[name].default)
    assert all(one.meaning for one in available.values())


def test_train_is_another_name_of_trainer_and_the_last_value_counts():
    assert settings.parse(["trainer.epochs=3", " train.epochs = 4"]) == {"trainer.epochs": 4}


@pytest.mark.parametrize(
    "name", ["model.recency_seconds", "long_term.strong_penalties", "tutorial.hidden_units"]
)
def test_a_setting_that_may_be_none_says_so_and_is_set_by_the_word(tmp_path, name):
    group, _, field = name.partition(".")
    file = tmp_path / "mine.toml"
    file.write_text(f"[{group}]\n{field} = []\n")
    assert settings.parse([f"{name}=none"]) == settings.read(file) == {name: ()}
    assert "`none`: " in settings.named(name).meaning


def test_a_file_has_a_table_for_each_group(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[trainer]\nepochs = 4\n[model]\nrecency_seconds = [30, 4000.5]\nl2_rating=1\n")
    found = settings.read(path)
    assert found == {
        "trainer.epochs": 4,
        "model.recency_seconds": (30.0, 4000.5),
        "model.l2_rating": 1.0,
    }
    assert isinstance(found["model.l2_rating"], float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("trainer.epochs", "cannot read 'trainer.epochs'"),
        ("=3", "there is no setting nothing"),
        ("trainer.epoch=3", r"(?s)no setting trainer.epoch\n.*expected: trainer.epochs"),
        ("epochs=3", r"(?s)expected: trainer.epochs or long_term.epochs"),
        ("serving.port=1", "(?s)no setting serving.port.*expected: one of trainer.epochs, "),
        ("train.seed=3", "trainer.seed cannot be set: --seed sets it"),
        ("trainer.splits=test", "trainer.splits cannot be set: train and validation are fitted"),
        ("trainer.epochs=1.5", "(?s)cannot be 1.5.*a whole number from 1 on, such as the"),
        ("trainer.epochs=0", "trainer.epochs cannot be 0"),
        ("trainer.epochs=1e999", "trainer.epochs cannot be inf"),
        (f"trainer.epochs={'9' * 400}", "trainer.epochs cannot be 999"),
        ("trainer.learning_rate=0", "(?s)learning_rate cannot be 0.*a number above 0"),
        ("trainer.learning_rate=nan", "learning_rate cannot be nan"),
        ("trainer.learning_rate=", "learning_rate cannot be nothing"),
        ("model.query_dropout=1", "(?s)query_dropout cannot be 1.*from 0 to below 1"),
        ("model.truncated_share=many", "model.truncated_share cannot be many"),
        ("bpmf.weight=1.1", "(?s)bpmf.weight cannot be 1.1.*from 0 to 1"),
        ("bpmf.user_noise_freedom=0", "(?s)freedom cannot be 0.*a number above 0"),
        ("bpmf.session_seconds=0", "(?s)session_seconds cannot be 0.*a number above 0"),
        ("model.recency_seconds=a,b", "model.recency_seconds cannot be a,b"),
        (
            "model.rating_dropout=0.1,0.2",
            "(?s)rating_dropout cannot be 0.1,0.2.*3 numbers with commas",
        ),
        ("model.recency_seconds=-1", "(?s)expected: none, or numbers with commas between, each a"),
        ("long_term.strong_popularity_weights=none", "(?s)cannot be none.*expected: numbers with"),
        ("long_term.blend_lengths=", "blend_lengths cannot be none"),
        ("model.rating_dropout=none", "(?s)rating_dropout cannot be none.*3 numbers with commas"),
        ("trainer.epochs=none", "trainer.epochs cannot be none"),
        ("model.rating_dim=3,4", "model.rating_dim cannot be 3,4"),
    ],
)
def test_what_cannot_be_set_is_refused_with_a_reason(change, message):
    with pytest.raises(InputError, match=message) as error:
        settings.parse([change])
    assert len(str(error.value)) < 2500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 3", "(?s)epochs stands outside of a table.*expected: tables .trainer., .model."),
        ("[trainer]\nepochs = true", "trainer.epochs cannot be True"),
        ("[trainer]\nepochs = '3'", "trainer.epochs cannot be 3"),
        ("[trainer]\nepocs = 3", "(?s)mine.toml.*expected: trainer.epochs"),
        ("[model]\nrating_dim = [3]", "model.rating_dim cannot be 3"),
        ("[trainer", "this file cannot be read"),
        ("\xff", "this file cannot be read"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        settings.read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"(?s)cannot be read.*No such file"):
        settings.read(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["long_term.blend_lengths=0,5"], "(?s)popularity_weights and .* do not fit.*found: 7"),
        (["long_term.kernel_shares=0,1"], "(?s)kernel_shares and .* do not fit.*found: 2"),
        (["long_term.blend_lengths=0,3,1,5,10,15,20"], "blend_lengths do not rise"),
    ],
)
def test_weights_that_do_not_fit_their_lengths_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        settings.applied(TrainerConfig(), settings.parse(changes))


def test_the_reference_page_is_that_of_the_code():
    text = PAGE.read_text(encoding="utf-8")
    assert text.endswith(settings.reference()), (
        "run .venv/bin/python -m trainer.settings, which rewrites the tables"
    )

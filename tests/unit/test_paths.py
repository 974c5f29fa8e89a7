"""Numbers in paths: one way to write each, and the way back."""

import pytest

from dioscuri.paths import REPOSITORY, format_number, models_folder, parse_number, shard_names


@pytest.mark.parametrize(
    ("value", "text"), [(16, "16"), (16.0, "16"), (0.5, "0p5"), (-1.25, "m1p25"), (0, "0"), (512, "512")]
)
def test_number_in_a_path_and_back(value, text):
    assert format_number(value) == text
    assert parse_number(text) == value


def test_every_plain_number_survives_the_round_trip():
    values = [step / 8 for step in range(-400, 400)] + [0.1, 0.3, 1e-4, 123456.789]
    texts = [format_number(value) for value in values]
    assert [parse_number(text) for text in texts] == values
    assert len(set(texts)) == len(values)
    assert all(text.isalnum() for text in texts)


@pytest.mark.parametrize("value", [1e-7, 1e22, float("nan"), float("inf")])
def test_numbers_without_a_plain_form_are_refused(value):
    with pytest.raises(ValueError, match="cannot stand in a path"):
        format_number(value)


@pytest.mark.parametrize("text", ["", "16.0", "-16", "1p", "p5", "1e3", "m", "sixteen"])
def test_text_that_is_no_number(text):
    with pytest.raises(ValueError, match="no number of a path"):
        parse_number(text)


@pytest.mark.parametrize(("text", "right"), [("016", "16"), ("16p0", "16"), ("0p50", "0p5"), ("m0", "0")])
def test_a_second_spelling_is_refused_and_the_right_one_named(text, right):
    with pytest.raises(ValueError, match=f"'{right}'"):
        parse_number(text)


@pytest.mark.parametrize(
    ("total", "size", "last"), [(1, 10, "000000"), (10, 10, "000000"), (11, 10, "000001"), (306000, 20000, "000015")]
)
def test_shards_hold_everything_and_none_is_empty(total, size, last):
    names = shard_names(total, size)
    assert names[-1] == last
    assert (len(names) - 1) * size < total <= len(names) * size


def test_released_models_lie_in_the_repository_unless_told_otherwise(monkeypatch, root):
    monkeypatch.delenv("DIOSCURI_MODELS", raising=False)
    assert models_folder() == root / "models" == REPOSITORY / "models"
    monkeypatch.setenv("DIOSCURI_MODELS", "elsewhere")
    assert str(models_folder()) == "elsewhere"

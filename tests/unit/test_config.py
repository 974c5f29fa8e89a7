"""Settings: presets are right, and every mistake is one line that names file, key, value and remedy."""

import json
import re

import pytest
import yaml

from dioscuri import config
from dioscuri.config import ConfigError, load_config
from dioscuri.settings.lamost_mrs import Axis

PRESETS = [
    "config/demo.yaml",
    "config/reference.yaml",
    "config/release.yaml",
    "config/large_networks.yaml",
    "tests/presets/tiny.yaml",
]


@pytest.fixture
def base(root, monkeypatch):
    """The files below every preset, named as a user sees them: relative to the repository."""
    monkeypatch.chdir(root)
    return ["config/config.yaml", "config/surveys.yaml"]


@pytest.fixture
def mistakes(base, tmp_path):
    """The lines of the error that settings (a mapping, or YAML as text) laid over the base lead to."""

    def lines(content):
        path = tmp_path / "mine.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        with pytest.raises(ConfigError) as caught:
            load_config([*base, path])
        return [line.strip().replace(f"{path}: ", "mine.yaml: ") for line in str(caught.value).splitlines()]

    return lines


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_right_and_named_after_their_file(base, preset):
    settings = load_config([*base, preset])
    assert f"/{settings.preset}.yaml" in preset


def test_default_is_the_papers_scale(base):
    settings = load_config(base)
    mrs = settings.lamost_mrs
    assert settings.preset == "paper"
    assert (mrs.mocks.n_train, mrs.mocks.n_validation, mrs.mocks.n_test) == (306000, 34000, 40000)  # Table 2
    assert mrs.penalties == [2**k for k in range(10)]  # §3.2
    assert (mrs.inference.penalties, mrs.inference.draws) == ([8, 16, 32], 20)  # §4.1
    assert mrs.training.schedule == "literal" and mrs.training.learning_rate == 1e-3


def test_later_files_win_key_by_key_and_lists_whole(base, tmp_path):
    (tmp_path / "mine.yaml").write_text("lamost_mrs: {seeds: [7], mocks: {n_test: 10}}")
    mrs = load_config([*base, tmp_path / "mine.yaml"], {"lamost_mrs": {"mocks": {"n_train": 20}}}).lamost_mrs
    assert mrs.seeds == [7]
    assert (mrs.mocks.n_test, mrs.mocks.n_train, mrs.mocks.n_validation) == (10, 20, 34000)


def test_all_mistakes_are_told_at_once_a_line_each(mistakes):
    lines = mistakes({"seed": -1, "tracks": {"sorce": "mist"}, "lamost_mrs": {"network": "vgg", "seeds": [1, 1]}})
    assert lines[0] == "3 mistakes in the settings:"
    assert len(lines) == 4
    assert all(line.startswith("mine.yaml: ") for line in lines[1:])
    assert {line.split(": ")[1] for line in lines[1:]} == {"seed", "tracks.sorce", "lamost_mrs"}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"presset": "a"}, "mine.yaml: presset: unknown key; did you mean 'preset'?"),
        (
            {"lamost_mrs": {"mocks": {"n_trian": 5}}},
            "mine.yaml: lamost_mrs.mocks.n_trian: unknown key; did you mean 'n_train'?",
        ),
        ({"checks": {"zzz": 1}}, "mine.yaml: checks.zzz: unknown key; accepted: strict"),
        (
            {"tracks": {"source": "mists"}},
            "tracks.source: found \"mists\"; accepted: embedded, mist or auto; did you mean 'mist'?",
        ),
        ({"seed": -1}, "mine.yaml: seed: found -1; accepted: greater than or equal to 0"),
        ({"lamost_mrs": {"penalties": [16, 0]}}, "lamost_mrs.penalties.1: found 0; accepted: greater than 0"),
        ({"lamost_mrs": {"network": "vgg"}}, "network 'vgg' is not one of networks: cnn_s, cnn_m"),
        ({"lamost_mrs": {"seeds": [1, 1]}}, "seeds repeats a value: [1, 1]"),
        (
            {"lamost_mrs": {"inference": {"penalties": [3]}}},
            "inference.penalties [3.0] are not among penalties",
        ),
        ({"library": {"source": "ferre"}}, "source 'ferre' needs library.files"),
        (
            {"library": {"source": "ferre", "files": ["a.dat"]}},
            "source 'ferre' has one grid: library.variants must be 1",
        ),
        (
            {"library": {"teff": {"step": 300}}},
            "max must lie a whole number (two or more) of steps above min",
        ),
        (
            {"lamost_lrs": {"training": "hrd", "spectra": ["a.fits"]}},
            "training: hrd needs `catalogue`, a table with photometry and parallaxes of `spectra`",
        ),
        (
            {"surveys": ["lamost_mr"]},
            'surveys.0: found "lamost_mr"; accepted: csst, hst, lamost_mrs, lamost_lrs or protostar; '
            "did you mean 'lamost_mrs'?",
        ),
        ({"preset": "My Run"}, 'mine.yaml: preset: found "My Run"'),
        ({"lamost_mrs": None}, "mine.yaml: lamost_mrs: found null"),
        ({"lamost_mrs": {"seeds": 3}}, "mine.yaml: lamost_mrs.seeds: found 3; accepted: "),
    ],
)
def test_one_mistake(mistakes, content, line):
    first, *rest = mistakes(content)
    assert first == "one mistake in the settings:"
    assert len(rest) == 1
    assert line in rest[0]
    assert rest[0].startswith("mine.yaml: ")


def test_missing_key_is_named_with_its_meaning(root):
    with pytest.raises(ConfigError) as caught:
        load_config([root / "config/surveys.yaml"])
    assert re.search(r"surveys\.yaml: seed: missing; root of all random numbers", str(caught.value))


def test_mistake_on_the_command_line_names_it(base):
    with pytest.raises(ConfigError, match="command line: seed: found"):
        load_config(base, {"seed": "x"})


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("seed: 1\nseed: 2", "line 2: key 'seed' is given twice"),
        ("seed: [1", "line 1, column 7"),
        ("- 1", "found list, accepted: a mapping of settings"),
    ],
)
def test_yaml_that_cannot_be_meant(mistakes, content, text):
    lines = mistakes(content)
    assert text in " ".join(lines)
    assert lines[0].startswith("mine.yaml")


def test_file_that_is_not_there(base):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read \(No such file"):
        load_config([*base, "nowhere.yaml"])


def test_empty_file_changes_nothing(base, tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_config([*base, tmp_path / "empty.yaml"]) == load_config(base)


@pytest.mark.parametrize("step", [0.1, 0.25, 250.0])
def test_axes_of_whole_steps_are_accepted_whatever_binary_fractions_do(step):
    assert Axis(min=-2 * step, max=7 * step, step=step).step == step


def test_schema_for_editors_is_in_step(root):
    text = (root / "config/schema.json").read_text()
    assert text == config.json_schema(), (
        "python -c 'from dioscuri.config import *; print(json_schema(), end=\"\")' > config/schema.json"
    )
    assert json.loads(text)["additionalProperties"] is False


def test_every_key_of_the_default_says_what_it_means(root):
    """Every leaf setting has a description in the model, or belongs to a named block of equals."""

    def leaves(model, path=""):
        for name, field in model.model_fields.items():
            annotation = field.annotation
            if isinstance(annotation, type) and issubclass(annotation, config.Settings):
                yield from leaves(annotation, f"{path}{name}.")
            else:
                yield f"{path}{name}", field.description

    silent = [key for key, description in leaves(config.Config) if not description]
    assert silent == []

"""SpectralLibrary: exact where it must be, refusing where it must, the same from any number of workers."""

import numpy as np
import pytest
import torch

from dioscuri import io, shards
from dioscuri.arms import Arm
from dioscuri.libraries.build import (
    EMBEDDED_AXES,
    assemble,
    build_embedded,
    node_labels,
    node_number,
    onto_grid,
    upper_envelope,
)
from dioscuri.libraries.grid import LibraryRangeError, SpectralLibrary, log_grid, window_of
from dioscuri.synthesis.kinematics import Kinematics

BLUE = Arm("blue", 5000.0, 5300.0, 3347, 7500.0)
AXES = {
    "teff": np.array([4000.0, 4500.0, 5000.0, 6000.0, 7000.0]),  # steps that change, as in stitched grids
    "logg": np.array([3.0, 4.0, 5.0]),
    "feh": np.array([-0.5, 0.5]),
    "afe": np.array([0.0]),
}
WAVE = log_grid(5000.0, 5050.0, 4.0)


def log_flux(labels: np.ndarray, wave: np.ndarray = WAVE) -> np.ndarray:
    """A library whose ln F is quadratic in teff and logg and linear in feh: interpolation must be exact."""
    t, g, m = (labels[:, 0] - 5500) / 1000, labels[:, 1] - 4, labels[:, 2]
    x = np.linspace(-1, 1, len(wave))
    return (
        14
        + np.outer(1.2 * t - 0.3 * t**2, np.ones_like(x))
        + np.outer(t * g - 0.1 * g**2, np.cos(5 * x))
        + np.outer(0.2 * m * t**2, np.sin(40 * x))
    )


def analytic_library(holes: tuple[int, ...] = ()) -> SpectralLibrary:
    values = np.exp(log_flux(node_labels(AXES)))
    spectra = ((i, {"blue": (f, np.full_like(f, f.max()))}) for i, f in enumerate(values) if i not in holes)
    return assemble(AXES, 20000.0, {"blue": WAVE}, spectra, {"source": "test"})


@pytest.fixture(scope="module")
def library() -> SpectralLibrary:
    return analytic_library()


def random_labels(n: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.column_stack([rng.uniform(4000, 7000, n), rng.uniform(3, 5, n), rng.uniform(-0.5, 0.5, n), np.zeros(n)])


def test_quadratic_functions_are_interpolated_exactly(library):
    labels = random_labels(300)
    relative = library.flux("blue", labels).double().numpy() / np.exp(log_flux(labels)) - 1
    assert np.abs(relative).max() < 2e-5  # float32 of ln F ≈ 15


def test_nodes_come_back_as_they_went_in(library):
    labels = node_labels(AXES)
    assert np.abs(np.log(library.flux("blue", labels).double().numpy()) - log_flux(labels)).max() < 5e-6
    assert [node_number(AXES, label) for label in labels] == list(range(len(labels)))


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ((3999.0, 4.0, 0.0, 0.0), "teff = 3999 .* 4000 to 7000 K"),
        ((5000.0, 5.2, 0.0, 0.0), "logg = 5.2 .* 3 to 5"),
        ((5000.0, 4.0, np.nan, 0.0), "feh = nan"),
        ((5000.0, 4.0, 0.0, 0.1), "afe = 0.1 .* 0 to 0"),
    ],
)
def test_never_extrapolates(library, label, words):
    labels = np.array([(5000.0, 4.0, 0.0, 0.0), label])
    assert library.covered(labels).tolist() == [True, False]
    with pytest.raises(LibraryRangeError, match=words):
        library.flux("blue", labels)


def test_holes_are_masked_where_a_stencil_needs_them():
    hole = node_number(AXES, (7000.0, 5.0, 0.5, 0.0))
    library = analytic_library(holes=(hole,))
    labels = np.array([(6800, 4.5, 0.2, 0), (6800, 4.5, -0.5, 0), (5100, 3.5, 0.2, 0), (7000, 5, 0.5, 0)], float)
    # The second lies on the plane of feh = −0.5, to which the hole does not belong.
    assert library.covered(labels).tolist() == [False, True, True, False]
    with pytest.raises(LibraryRangeError, match="hole near teff = 6800"):
        library.flux("blue", labels)
    assert torch.isfinite(library.flux("blue", labels[1:3])).all()


def test_fluxes_that_are_not_finite_become_holes(caplog):
    def spectra():
        for node, values in enumerate(np.exp(log_flux(node_labels(AXES)))):
            yield node, {"blue": (np.full_like(values, np.nan) if node == 3 else values, None)}

    library = assemble(AXES, 20000.0, {"blue": WAVE}, spectra(), {})
    assert np.flatnonzero(~library.present).tolist() == [3]
    assert "0 were not given, 1 have flux that is not finite" in caplog.text
    with pytest.raises(ValueError, match="no usable spectrum"):
        assemble(AXES, 20000.0, {"blue": WAVE}, iter(()), {})


def test_saved_and_loaded_library_is_the_same(library, tmp_path):
    path = tmp_path / "library.h5"
    library.save(path)
    again = SpectralLibrary.load(path)
    labels = random_labels(20)
    assert torch.equal(again.flux("blue", labels), library.flux("blue", labels))
    assert torch.equal(again.continuum("blue", labels), library.continuum("blue", labels))
    assert again.limits == library.limits and again.resolution == 20000.0
    assert again.provenance == {"source": "test"} == io.read_provenance(path)
    # The file is mapped copy-on-write: what a process does to its tensors never reaches the disk.
    again.windows["blue"].log_flux.zero_()
    assert torch.equal(SpectralLibrary.load(path).flux("blue", labels), library.flux("blue", labels))
    assert [p.name for p in tmp_path.iterdir()] == ["library.h5"]


def test_answers_bad_questions_well(library, tmp_path):
    with pytest.raises(ValueError, match="no window 'red', only blue"):
        library.grid("red")
    with pytest.raises(ValueError, match="shape"):
        library.flux("blue", np.zeros((2, 3)))
    with pytest.raises(ValueError, match="ascending"):
        SpectralLibrary({**AXES, "logg": np.array([5.0, 4.0])}, 2e4, {}, np.ones(1, bool), {})
    shards.write_spectra_shard(tmp_path / "x.h5", {}, {}, {})
    with pytest.raises(ValueError, match="expected schema 'dioscuri/library/1'"):
        SpectralLibrary.load(tmp_path / "x.h5")


def test_upper_envelope_finds_the_continuum_between_lines():
    wave = np.linspace(5000, 5300, 4000)
    level = 1e6 * (wave / 5150) ** -2.5
    lines = sum(np.exp(-0.5 * ((wave - centre) / 0.3) ** 2) for centre in np.arange(5003, 5300, 7.0))
    assert np.abs(upper_envelope(level * (1 - 0.6 * lines)) / level - 1).max() < 0.005


def test_resampling_keeps_a_lines_strength_and_gives_it_the_new_width():
    wave = np.linspace(4990.0, 5060.0, 40000)  # R = 100,000 well sampled
    narrow = 5025.0 / 1e5 / 2.3548
    flux = 1 - 0.8 * np.exp(-0.5 * ((wave - 5025.0) / narrow) ** 2)
    out = 1 - onto_grid(wave, flux, 1e5, WAVE, 20000.0)
    pixel = WAVE * 4.0 / 299792.458
    assert (out * pixel).sum() == pytest.approx(0.8 * np.sqrt(2 * np.pi) * narrow, rel=1e-3)
    centre = (out * WAVE).sum() / out.sum()
    spread = np.sqrt((out * (WAVE - centre) ** 2).sum() / out.sum())
    assert centre == pytest.approx(5025.0, abs=1e-3)
    assert spread == pytest.approx(5025.0 / 20000 / 2.3548, rel=1e-2)
    with pytest.raises(ValueError, match="the window needs"):
        onto_grid(wave[20000:], flux[20000:], 1e5, WAVE, 20000.0)


# --- the embedded library -----------------------------------------------------------------------------------

SMALL = {
    "teff": [5500.0, 5750.0, 6000.0],
    "logg": [4.0, 4.5, 5.0],
    "feh": [-0.5, 0.0, 0.5],
    "afe": [-0.5, 0.1, 0.7],
}
NARROW = {"blue": (5160.0, 5190.0)}


def test_embedded_library_does_not_depend_on_workers_and_jitter_is_seeded():
    one_axis = {"teff": [5500.0, 5750.0, 6000.0], "logg": [4.5], "feh": [0.0], "afe": [0.1]}
    alone = build_embedded(one_axis, NARROW, workers=1)
    table = alone.windows["blue"].log_flux
    assert torch.equal(table, build_embedded(one_axis, NARROW, workers=2).windows["blue"].log_flux)
    first, again, second = (
        build_embedded(one_axis, NARROW, loggf_jitter=0.25, seed=seed).windows["blue"].log_flux for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, second) and not torch.equal(first, table)
    assert alone.provenance["linelist"]["name"] == "embedded"
    assert alone.present.all()


def test_embedded_library_interpolates_to_a_thousandth():
    """Between nodes, at the default steps and R = 7500, against a synthesis at the very labels."""
    from dioscuri.synthesis.synthesizer import read_linelist, synthesize

    library = build_embedded(SMALL, {"blue": window_of(BLUE)})
    move = Kinematics(library.grid("blue"), BLUE.wave, library.resolution)
    lines = read_linelist()
    labels = np.array([(5625.0, 4.25, 0.25, 0.4), (5875.0, 4.75, -0.25, -0.2)])
    interpolated = (library.flux("blue", labels) / library.continuum("blue", labels)).float()
    for label, flux in zip(labels, move(interpolated, 5.0, 0.0)):
        model = synthesize(*label, *window_of(BLUE, 1200), linelist=lines, step_kms=2.0, resolution=20000.0)
        exact = np.interp(library.grid("blue"), model.wave, model.flux / model.continuum).astype(np.float32)
        expected = move(torch.from_numpy(exact)[None], 5.0, 0.0)[0]
        assert float((flux - expected).std()) < 2e-3
        level = library.continuum("blue", label[None])[0].numpy()
        assert np.abs(level / np.interp(library.grid("blue"), model.wave, model.continuum) - 1).max() < 5e-3


def test_default_axes_lie_within_the_synthesizers_validity():
    from dioscuri.synthesis.synthesizer import VALIDITY

    for name, values in EMBEDDED_AXES.items():
        low, high = VALIDITY[name]
        assert values[0] >= low - 1e-9 and values[-1] <= high + 1e-9

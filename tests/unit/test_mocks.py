"""Mocks: eq. 4 and its noise to the letter, the survey's ingredients, the same bits in any shard."""

import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch

from dioscuri import io, shards
from dioscuri.arms import C_KMS, Arm
from dioscuri.libraries.build import assemble, node_labels
from dioscuri.libraries.grid import SpectralLibrary, log_grid, window_of
from dioscuri.mocks import augment
from dioscuri.mocks.augment import H_ALPHA, RECIPES, Draws, Recipe
from dioscuri.mocks.chain import continuum_settings
from dioscuri.mocks.pairs import make_mocks, one_spectrum, resolve_recipe, write_mock_shard
from dioscuri.spectra.continuum import fit_continuum
from dioscuri.synthesis.kinematics import Kinematics

BLUE = Arm("blue", 5000.0, 5300.0, 3347, 7500.0)
RED = Arm("red", 6350.0, 6750.0, 3509, 7500.0)
ARMS = {"blue": BLUE, "red": RED}
AXES = {
    "teff": np.array([5000.0, 6000.0, 7000.0]),
    "logg": np.array([4.0, 5.0]),
    "feh": np.array([-0.5, 0.5]),
    "afe": np.array([0.0, 0.4]),
}


def made_up_library(depth: float, holes: tuple[int, ...] = ()) -> SpectralLibrary:
    """A library of narrow lines of `depth` (0: featureless) on a Planck-like slope, quick to make."""
    grids = {arm.name: log_grid(*window_of(arm), 4.0) for arm in ARMS.values()}

    def spectra():
        for node, (teff, *_) in enumerate(node_labels(AXES)):
            if node in holes:
                continue
            pieces = {}
            for name, wave in grids.items():
                level = 1e6 * (teff / 5000) ** 4 * (wave / 5500) ** (-teff / 2000)
                velocity = np.arange(len(wave)) * 4.0 % 800.0 - 400.0
                pieces[name] = (level * (1 - depth * np.exp(-0.5 * (velocity / 8.0) ** 2)), level)
            yield node, pieces

    return assemble(AXES, 20000.0, grids, spectra(), {"source": "made up"})


@pytest.fixture(scope="module")
def library() -> SpectralLibrary:
    return made_up_library(0.6)


def columns(n: int, seed: int = 1, **fixed: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    made = {
        "pair_id": np.arange(n, dtype=np.int64) * 7 + 3,
        "feh": rng.uniform(-0.5, 0.5, n),
        "afe": rng.uniform(0.0, 0.4, n),
        "v1": rng.normal(0, 5, n),
        "dv": rng.uniform(-500, 500, n),
        "snr": rng.uniform(5, 100, n),
    }
    for star in "12":
        made[f"teff{star}"] = rng.uniform(5000, 7000, n)
        made[f"logg{star}"] = rng.uniform(4, 5, n)
        made[f"radius{star}"] = rng.uniform(0.5, 2, n)
        made[f"vsini{star}"] = rng.uniform(0, 500, n)
    return {**made, **{name: np.full(n, value) for name, value in fixed.items()}}


def collect(batches, arm: str = "blue") -> tuple[np.ndarray, np.ndarray]:
    made = [batch.spectra[arm] for batch in batches]
    return np.concatenate([single for single, _ in made]), np.concatenate([binary for _, binary in made])


# --- the paper's recipe -------------------------------------------------------------------------------------


def test_binary_is_the_sum_of_fluxes_times_radius_squared(library):
    """Eq. 4, noise-free, against the sum done by hand; float16 of flux − 1 is good to 5e-4."""
    pairs = columns(8, snr=1e9)
    single, binary = collect(make_mocks(pairs, [library], [BLUE], seed=1))
    move = Kinematics(library.grid("blue"), BLUE.wave, library.resolution)
    stars = []
    for star, rv in (("1", pairs["v1"]), ("2", pairs["v1"] + pairs["dv"])):
        labels = np.column_stack([pairs[f"teff{star}"], pairs[f"logg{star}"], pairs["feh"], pairs["afe"]])
        flux = move(library.flux("blue", labels), pairs[f"vsini{star}"], rv, 7500.0).double().numpy()
        stars.append(flux * pairs[f"radius{star}"][:, None] ** 2)
    for made, flux in ((single, stars[0]), (binary, stars[0] + stars[1])):
        flux = flux / flux.mean(1, keepdims=True)
        assert np.abs(made - (flux / fit_continuum(BLUE.wave, flux) - 1)).max() < 6e-4


def test_a_twin_at_rest_makes_a_binary_that_is_its_primary(library):
    pairs = columns(4, dv=0, snr=1e9)
    for name in ("teff", "logg", "vsini"):
        pairs[f"{name}2"] = pairs[f"{name}1"]
    single, binary = collect(make_mocks(pairs, [library], [BLUE], seed=1))
    assert np.abs(single - binary).max() < 1e-3


def test_noise_is_white_gaussian_of_the_stated_snr():
    featureless = made_up_library(0.0)
    for snr in (5.0, 30.0, 100.0):
        single, binary = collect(make_mocks(columns(64, snr=snr), [featureless], [BLUE], seed=1))
        # The clipping lifts the continuum of noisy spectra (5 % at S/N 5): take the mean flux as the scale.
        single, binary = (made / made.mean() - 1 for made in (single.astype(float) + 1, binary.astype(float) + 1))
        for made in (single, binary):
            assert made.std() * snr == pytest.approx(1.0, rel=0.02)
            assert abs((made[:, 1:] * made[:, :-1]).mean() / made.var()) < 0.01
            assert abs((made**3).mean() / made.std() ** 3) < 0.03
        assert abs((single * binary).mean() / (single.std() * binary.std())) < 0.01


@pytest.mark.parametrize("recipe", ["paper", "survey"])
def test_the_same_bits_in_any_shard_batch_and_company(library, recipe):
    libraries = [library, made_up_library(0.5)]
    pairs = columns(60)
    whole = collect(make_mocks(pairs, libraries, [BLUE, RED], recipe=recipe, seed=5, batch=32), "red")
    chosen = np.random.default_rng(0).permutation(60)[:23]
    some = {name: values[chosen] for name, values in pairs.items()}
    for batch in (5, 23, 32):
        part = collect(make_mocks(some, libraries, [RED], recipe=recipe, seed=5, batch=batch), "red")
        for a, b in zip(whole, part):
            assert np.array_equal(a[chosen], b)
    other = collect(make_mocks(some, libraries, [RED], recipe=recipe, seed=6), "red")
    assert not np.array_equal(whole[0][chosen], other[0])


# --- kinds that deceive -------------------------------------------------------------------------------------


def contaminated(n: int, **fixed: float) -> dict[str, np.ndarray]:
    """Pairs with the columns of `dioscuri.stars.contaminants`; every fourth has moonlight, a third star, neither …"""
    pairs, turn = columns(n, **fixed), np.arange(n) % 4
    third = {"teff3": 5500.0, "logg3": 4.5, "radius3": np.where(turn == 1, 0.8, 0), "vsini3": 10.0, "dv3": -150.0}
    moon = {"moon_share": np.where(turn == 2, 0.2, 0), "moon_rv": np.where(turn == 2, 80.0, 0)}
    rest = {"kind": turn, "light2_single": np.where(turn == 3, 0.05, 0), "nebular": np.zeros(n)}
    return pairs | {name: np.broadcast_to(value, n).astype(float) for name, value in (third | moon | rest).items()}


def test_third_stars_faint_seconds_and_the_moon_add_their_light(library):
    """Noise-free, against sums done by hand: who is in the single star's spectrum, who in the binary's."""
    pairs = contaminated(8, snr=1e9)
    single, binary = collect(make_mocks(pairs, [library], [BLUE], seed=1))
    move = Kinematics(library.grid("blue"), BLUE.wave, library.resolution)

    def light(labels, vsini, rv):
        return move(library.flux("blue", labels), vsini, rv, 7500.0).double().numpy()

    stars = {}
    for star, rv in (("1", pairs["v1"]), ("2", pairs["v1"] + pairs["dv"]), ("3", pairs["v1"] + pairs["dv3"])):
        labels = np.column_stack([pairs[f"teff{star}"], pairs[f"logg{star}"], pairs["feh"], pairs["afe"]])
        stars[star] = light(labels, pairs[f"vsini{star}"], rv) * pairs[f"radius{star}"][:, None] ** 2
    moon = light(np.tile([5772.0, 4.44, 0.0, 0.0], (8, 1)), 2.0, pairs["moon_rv"])
    share = pairs["moon_share"] * stars["1"].mean(1) / moon.mean(1)
    both = share[:, None] * moon
    expected = (
        stars["1"] + pairs["light2_single"][:, None] * stars["2"] + both,
        stars["1"] + stars["2"] + stars["3"] + both,
    )
    for made, flux in zip((single, binary), expected):
        flux = flux / flux.mean(1, keepdims=True)
        assert np.abs(made - (flux / fit_continuum(BLUE.wave, flux) - 1)).max() < 6e-4
    plain = {name: values for name, values in pairs.items() if name in columns(1)}
    before = collect(make_mocks(plain, [library], [BLUE], seed=1))
    changed = [np.any(a != b, axis=1).tolist() for a, b in zip(before, (single, binary))]
    assert changed == [[False, False, True, True] * 2, [False, True, True, False] * 2]


def test_nebulae_shine_where_they_are_asked_for(library):
    pairs = contaminated(8, snr=1e9)
    pairs["nebular"][3] = 1
    plain, _ = collect(make_mocks({**pairs, "nebular": np.zeros(8)}, [library], [RED], seed=1), "red")
    made, _ = collect(make_mocks(pairs, [library], [RED], seed=1), "red")
    assert np.any(made != plain, axis=1).tolist() == [k == 3 for k in range(8)]
    changed = np.abs(made[3].astype(float) - plain[3]) > 0.02
    assert np.abs(RED.wave[changed] / H_ALPHA - 1).max() < 0.03


def test_contaminants_are_the_same_bits_in_any_company(library):
    pairs = contaminated(24)
    whole = collect(make_mocks(pairs, [library], [BLUE], recipe="survey", seed=5, batch=24))
    for rows in ([0, 4, 8], [1, 2, 3, 20]):  # without any moon or third star, and with both
        some = {name: values[rows] for name, values in pairs.items()}
        part = collect(make_mocks(some, [library], [BLUE], recipe="survey", seed=5, batch=5))
        for a, b in zip(whole, part):
            assert np.array_equal(a[rows], b)


def test_moonlight_needs_the_sun(library):
    hot = made_up_library(0.6)
    hot.axes["teff"] = hot.axes["teff"] + 1000
    pairs = contaminated(4)
    for star in "123":
        pairs[f"teff{star}"] += 1000
    with pytest.raises(ValueError, match=r"moonlight needs the Sun .*, which the library .* lacks"):
        list(make_mocks(pairs, [hot], [BLUE], seed=1))


def test_shards_and_logs_say_what_their_kinds_are(library, tmp_path, caplog):
    caplog.set_level("INFO")
    made = contaminated(8)
    path = tmp_path / "shard.h5"
    pairs = Pairs(made, {"candidates": 40, "on_tracks": 20})
    write_mock_shard(path, arms=[BLUE], libraries=[library], population=pairs, recipe="paper", seed=9)
    assert "survivors of each cut: candidates 40, on_tracks 20" in caplog.text
    assert "kinds of pairs: ordinary 2, cool_giant 2, sb1 2, triple 2, moonlight 0" in caplog.text
    assert io.read_provenance(path)["kinds"][1] == "cool_giant"
    assert np.array_equal(shards.read_mock_labels(path)["kind"], made["kind"])


# --- the survey's ingredients -------------------------------------------------------------------------------


def test_survey_differs_and_stays_in_bounds(library):
    single, binary = collect(make_mocks(columns(128), [library], [RED], recipe="survey", seed=2), "red")
    assert single.dtype == np.float16
    for made in (single, binary):
        assert np.isfinite(made).all() and np.abs(made).max() <= 3
        assert np.abs(np.median(made)) < 0.02


def test_resampled_noise_has_the_correlation_of_linear_interpolation():
    draws = Draws(1, np.arange(200), "blue", 1)
    noise = augment.resampled_noise(draws, BLUE.wave, 7.0).astype(float)
    # Weights (1−t, t): mean variance ∫(1−t)²+t² dt = 2/3, at any degree of correlation.
    assert (noise**2).mean() == pytest.approx(2 / 3, rel=0.01)
    neighbours = (noise[:, 1:] * noise[:, :-1]).mean(1) / (noise**2).mean(1)
    # By degree from white (0) to fully resampled: grid step 5.2 km/s, native 7.0: ρ₁ = ½ approximately.
    assert neighbours.min() < 0.1 and 0.42 < neighbours.max() < 0.58
    assert neighbours.mean() == pytest.approx(0.25, abs=0.05)


def test_correlated_noise_has_unit_variance_and_the_stated_scale():
    noise = augment.correlated_noise(Draws(1, np.arange(300), "blue", 0), 4000, 8.0).astype(float)
    assert noise.shape == (300, 4000)
    assert noise.var() == pytest.approx(1.0, rel=0.03)
    lag = 16  # autocorrelation of white noise smoothed by σ: exp(−lag²/4σ²)
    assert (noise[:, lag:] * noise[:, :-lag]).mean() == pytest.approx(np.exp(-(lag**2) / (4 * 64)), abs=0.06)


def test_line_errors_change_lines_and_leave_the_continuum():
    wave = log_grid(5000, 5100, 4.0)
    recipe = Recipe(line_noise=0.25, depth_scatter=0.1)
    continuum = torch.ones(100, len(wave))
    apply = augment.line_errors(recipe, Draws(1, np.arange(100), "blue", 0), wave)
    assert torch.equal(apply(continuum, continuum), continuum)
    depth = 1 - apply(0.7 * continuum, continuum).double().numpy()
    assert np.log(depth / 0.3).mean() == pytest.approx(0.0, abs=0.03)
    # Within a spectrum: amplitude² averaged over U(0, ¼); between spectra 0.1 beside.
    assert np.log(depth / 0.3).var(axis=1).mean() == pytest.approx(0.25**2 / 3, rel=0.2)
    assert float(apply(0.01 * continuum, continuum).min()) >= 0.02 - 1e-6


def test_lines_that_the_library_lacks_have_their_equivalent_widths():
    wave = log_grid(6690, 6730, 4.0)
    flat, step = torch.ones(400, len(wave)), float(wave[1] / wave[0] - 1) * 6710
    lithium = augment.line_errors(Recipe(lithium=0.3), Draws(1, np.arange(400), "red", 0), wave)(flat, flat)
    width = (1 - lithium).double().numpy().sum(1) * step
    assert (width < 1e-6).mean() == pytest.approx(0.5, abs=0.08)  # of old stars, of which lithium is gone
    assert width.max() == pytest.approx(0.3, rel=0.02) and width[width > 0].mean() == pytest.approx(0.15, rel=0.15)
    deepest = (1 - lithium).numpy().argmax(1)[width > 1e-3]
    assert np.abs(wave[deepest] - augment.LITHIUM).max() < step
    others = Recipe(strange_lines=30, strange_width=0.002)
    found = augment.line_errors(others, Draws(1, np.arange(400), "red", 0), wave)(flat, flat)
    assert (1 - found).double().numpy().sum(1).mean() * step == pytest.approx(15 * 0.002, rel=0.15)


def test_bad_pixels_strike_the_stated_fraction():
    flux = np.ones((2000, 300))
    augment.spoil_pixels(Recipe(bad_fraction=0.2), Draws(3, np.arange(2000), "blue", 1), flux)
    struck = np.any(flux != 1, axis=1)
    # A bridged run of a flat spectrum leaves no trace, and with 13 % all of the 1–5 events are such.
    assert struck.mean() == pytest.approx(0.2 * 0.868, abs=0.03)
    assert (flux > 1.05).any() and (flux < 0.95).any()


def test_nebular_emission_is_narrow_rare_and_red_only():
    draws = Draws(4, np.arange(3000), "red", 0)
    emission = augment.nebular_emission(RECIPES["survey"], draws, RED.wave, np.full(3000, 7500.0))
    struck = np.any(emission != 0, axis=1)
    assert struck.mean() == pytest.approx(0.1, abs=0.02)
    peak = RED.wave[np.abs(emission[struck]).argmax(1)]
    velocity = C_KMS * (peak / H_ALPHA - 1)
    assert np.abs(np.median(velocity)) < 5 and velocity.std() == pytest.approx(20, rel=0.3)
    assert (emission[struck].sum(1) < 0).mean() == pytest.approx(0.2, abs=0.1)
    draws = Draws(4, np.arange(50), "blue", 0)
    assert not augment.nebular_emission(RECIPES["survey"], draws, BLUE.wave, np.full(50, 7500.0)).any()


def test_draws_are_keyed_by_pair_arm_kind_and_seed():
    first = Draws(1, np.array([10, 20]), "blue", 1).normals(5)
    assert np.array_equal(Draws(1, np.array([20]), "blue", 1).normals(5)[0], first[1])
    for other in (
        Draws(2, np.array([10]), "blue", 1),
        Draws(1, np.array([11]), "blue", 1),
        Draws(1, np.array([10]), "red", 1),
        Draws(1, np.array([10]), "blue", 2),
    ):
        assert not np.array_equal(other.normals(5)[0], first[0])


def test_continua_are_checked():
    assert continuum_settings() == {"method": "spline", "exact": False}
    assert continuum_settings({"exact": True, "p": 1e-5}) == {"method": "spline", "exact": True, "p": 1e-5}
    assert continuum_settings({"method": "gaussian", "width": 50.0}) == {"method": "gaussian", "width": 50.0}
    with pytest.raises(ValueError, match="found 'median'; accepted: spline, gaussian"):
        continuum_settings({"method": "median"})


def test_recipes_are_checked():
    assert resolve_recipe("survey", {"bad_fraction": 0.5}).bad_fraction == 0.5
    with pytest.raises(ValueError, match="unknown mock recipe 'papr': accepted are paper, survey, lrs"):
        resolve_recipe("papr")
    with pytest.raises(ValueError, match=r"unknown mock setting .*'bad'.* accepted are"):
        resolve_recipe("survey", {"bad": 1})


# --- files and the command line -----------------------------------------------------------------------------


class Pairs:
    """What `dioscuri.stars.population.Population` offers."""

    def __init__(self, made: dict[str, np.ndarray], counts: dict[str, int]) -> None:
        self.columns, self.counts = made, counts


def test_shard_holds_all_pairs_labels_and_provenance(library, tmp_path):
    pairs = Pairs(columns(20), {"candidates": 50, "secondary_in_library": 20})
    path = tmp_path / "shard.h5"
    written = write_mock_shard(
        path, arms=[BLUE, RED], libraries=[library], population=pairs, recipe="paper", seed=9, batch=8
    )
    assert written == 20
    labels = shards.read_mock_labels(path)
    assert np.array_equal(labels["pair_id"], pairs.columns["pair_id"])
    assert np.allclose(labels["teff2"], pairs.columns["teff2"])
    single, binary = collect(make_mocks(pairs.columns, [library], [RED], seed=9), "red")
    with h5py.File(path) as stream:
        assert np.array_equal(stream["red/single"][:], single)
        assert np.array_equal(stream["red/binary"][:], binary)
        assert stream["blue/single"].shape == (20, 3347)
    record = io.read_provenance(path)
    assert record["counts"] == pairs.counts and record["seed"] == 9
    assert record["libraries"] == [{"source": "made up"}]


def test_pairs_on_a_hole_are_left_out_and_counted(tmp_path):
    holed = made_up_library(0.6, holes=(0,))
    made = columns(40)
    made["feh"][::2] = 0.5  # the hole has [Fe/H] = −0.5: these pairs do not need it
    pairs = Pairs(made, {"candidates": 40})
    written = write_mock_shard(
        tmp_path / "s.h5", arms=[BLUE], libraries=[holed], population=pairs, recipe="paper", seed=9
    )
    good = np.ones(40, bool)
    for star in "12":
        label = np.column_stack([made[f"teff{star}"], made[f"logg{star}"], made["feh"], made["afe"]])
        good &= holed.covered(label)
    assert written == good.sum() == 20
    assert io.read_provenance(tmp_path / "s.h5")["counts"]["library_holes"] == written
    nothing = {name: values[:0] for name, values in made.items()}
    with pytest.raises(ValueError, match="no pair is left"):
        write_mock_shard(
            tmp_path / "t.h5",
            arms=[BLUE],
            libraries=[holed],
            population=Pairs(nothing, {}),
            recipe="paper",
            seed=9,
        )
    assert not (tmp_path / "t.h5").exists()


def test_one_spectrum_from_library_and_from_synthesis(library):
    star = {"teff": 5800, "logg": 4.5, "feh": 0.0, "afe": 0.1, "vsini": 5.0, "rv": 30.0, "resolution": 7500.0}
    wave, flux, normalised = one_spectrum(**star, wave_min=5100.0, wave_max=5200.0, library=library)
    assert wave[0] == 5100 and wave[-1] == 5200
    assert flux.shape == normalised.shape == wave.shape
    assert normalised.max() == pytest.approx(1.0, abs=2e-3) and normalised.min() < 0.9
    with pytest.raises(ValueError, match="no window of the library, which has blue 4982"):
        one_spectrum(**star, wave_min=3900.0, wave_max=4000.0, library=library)
    with pytest.raises(ValueError, match="expected 0 < wave_min < wave_max"):
        one_spectrum(**star, wave_min=5200.0, wave_max=5100.0)
    # The Sun, synthesized: Mg b2 at its vacuum wavelength times 1 + rv/c.
    wave, flux, normalised = one_spectrum(
        5772, 4.44, 0.0, 0.0, vsini=2.0, rv=100.0, resolution=7500.0, wave_min=5170.0, wave_max=5180.0
    )
    assert wave[normalised.argmin()] == pytest.approx(5174.125 * (1 + 100 / C_KMS), abs=0.1)
    # The Sun's continuum at 1 au, 2.05 W/m²/nm at 5175 Å, times (1 au / R☉)² = 215.0².
    assert np.max(flux / normalised) == pytest.approx(2.05e2 * 215.0**2, rel=0.1)


def test_mocks_import_on_a_bare_gpu_machine():
    """numpy, scipy, numba, h5py and torch only: nothing else of weight is imported with them."""
    code = (
        "import sys, dioscuri.mocks.pairs, dioscuri.libraries.grid\n"
        "banned = {'astropy', 'pydantic', 'pandas', 'snakemake', 'matplotlib', 'pyarrow'}\n"
        "sys.exit(', '.join(sorted(banned & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

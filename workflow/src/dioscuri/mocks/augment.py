"""What telescopes, skies and imperfect models do to spectra: the ingredients of lifelike mocks."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numba import njit

from dioscuri.arms import C_KMS

H_ALPHA, LITHIUM = 6564.61, 6709.61  # vacuum Å
STRANGE_WIDTH_KMS = 9.0  # 1 σ of a line that is put in before rotation: the library's resolution, its own width
# Lines of a nebula or of badly subtracted sky: vacuum Å and strength relative to Hα ([N II] and [S II] scaled
# by a draw).
NEBULAR_LINES = (
    (H_ALPHA, 1.0, False),
    (6549.86, 1 / 3, True),
    (6585.27, 1.0, True),
    (6718.29, 0.5, True),
    (6732.67, 0.4, True),
)


# Where water vapour absorbs in the red arm, vacuum Å, and about how many lines it has there.
WATER_BAND, WATER_LINES = (6465.0, 6605.0), 25


@dataclass(frozen=True)
class Recipe:
    """How a mock departs from a noisy library spectrum. All zero: the paper's own recipe (white noise, exact
    LSF).

    Widths are in km/s, scatters are standard deviations of natural logarithms unless said otherwise.
    """

    # the star's lines
    line_noise: float = 0.0  # largest amplitude of the correlated error of line depths; each pair draws U(0, this)
    line_noise_scale: float = 32.0  # its correlation length, km/s
    depth_scatter: float = 0.0  # scatter of a common factor on all line depths
    balmer_core: float = 0.0  # scatter of the depth of the Hα core, which LTE does not predict
    balmer_wing: float = 0.0  # scatter of the depth of its wings, which depend on broadening and convection
    lithium: float = 0.0  # Li I 6708 of young stars, whose abundance no label tells: half of pairs draw U(0, this) Å
    strange_lines: int = 0  # each pair has up to so many lines that the library lacks,
    strange_width: float = 0.0  # of this mean equivalent width, Å
    # the spectrograph
    resolution_spread: float = 0.0  # resolving power ~ nominal × U(1 − this, 1 + this)
    velocity_offset: float = 0.0  # common shift of the exposure, km/s (1 σ)
    tilt: tuple[float, ...] = ()  # scatter of the first Legendre terms of a smooth false continuum
    native_step: float = 0.0  # detector sampling in km/s, from which pixels are resampled linearly; 0: white noise
    snr_scatter: float = 0.0  # scatter of true over stated S/N
    bad_fraction: float = 0.0  # fraction of spectra with 1–5 bad-pixel events
    # the sky
    emission_fraction: float = 0.0  # fraction of pairs with nebular emission (or its over-subtraction)
    telluric_depth: float = 0.0  # water vapour in the red arm: each pair's typical line depth is U(0, this)

    @property
    def alters_lines(self) -> bool:
        """Whether stars have other lines than the library's."""
        errors = (self.line_noise, self.depth_scatter, self.balmer_core, self.balmer_wing)
        return any((*errors, self.lithium, self.strange_lines))


RECIPES = {
    "paper": Recipe(),
    # Line, depth, LSF, S/N and bad-pixel strengths were found by trial on real LAMOST MRS spectra (blue arm);
    # native_step was measured there in both arms. Velocity offset, Hα core and emission are guesses.
    "survey": Recipe(
        line_noise=0.25,
        depth_scatter=0.1,
        balmer_core=0.3,
        balmer_wing=0.15,
        lithium=0.35,
        strange_lines=30,
        strange_width=0.012,
        resolution_spread=2 / 15,
        velocity_offset=2.0,
        tilt=(0.15, 0.08, 0.05, 0.03),
        native_step=7.0,
        snr_scatter=0.2,
        bad_fraction=0.2,
        emission_fraction=0.1,
        telluric_depth=0.08,
    ),
    # As `survey`, with the widths of R = 1800 and steps of 1e-4 in log10 λ. The telluric bands are not in it.
    "lrs": Recipe(
        line_noise=0.25,
        line_noise_scale=170.0,
        depth_scatter=0.1,
        balmer_core=0.3,
        balmer_wing=0.15,
        resolution_spread=2 / 15,
        velocity_offset=5.0,
        tilt=(0.15, 0.08, 0.05, 0.03),
        native_step=69.0,
        snr_scatter=0.2,
        bad_fraction=0.2,
        emission_fraction=0.1,
    ),
}


_FRESH_PHILOX = {
    "bit_generator": "Philox",
    "buffer": np.zeros(4, np.uint64),
    "buffer_pos": 4,
    "has_uint32": 0,
    "uinteger": 0,
}


class Draws:
    """Random numbers of a batch of spectra: one Philox stream per row, the same in any batch.

    Each row's stream is keyed by `seed` and counted by (pair_id, arm, kind), so neither sharding nor batch
    size, nor the other arm, nor another row's number of draws, can change it.
    """

    def __init__(
        self,
        seed: int,
        pair_ids: np.ndarray,
        arm_name: str,
        kind: int,
        generators: list[np.random.Generator] | None = None,
    ) -> None:
        """`pair_ids` (S,) int64; `arm_name`, "" for draws that all arms share; `kind` of stream; `generators` of
        earlier draws, which nobody uses any more: they are set to these streams, and more are added where needed."""
        self.key = np.array([seed, kind], np.uint64)
        self.pair_ids = np.asarray(pair_ids, np.int64)
        self.arm_code = int.from_bytes(arm_name.encode()[:8], "little")
        self._generators = [] if generators is None else generators

    @cached_property
    def rows(self) -> list[np.random.Generator]:
        """One generator per row, made when first needed."""
        counters = np.zeros((len(self.pair_ids), 4), np.uint64)  # the two low words count the numbers drawn
        counters[:, 2], counters[:, 3] = self.pair_ids.astype(np.uint64), self.arm_code
        for generator, counter in zip(self._generators, counters):
            # What a new Philox starts from; making one costs seven times as much.
            state = {"key": self.key, "counter": counter}
            generator.bit_generator.state = {"state": state, **_FRESH_PHILOX}
        for counter in counters[len(self._generators) :]:
            self._generators.append(np.random.Generator(np.random.Philox(key=self.key, counter=counter)))
        return self._generators[: len(counters)]

    def uniform(self, low: float, high: float) -> np.ndarray:
        """(S,) uniform numbers."""
        return np.array([row.uniform(low, high) for row in self.rows])

    def normal(self) -> np.ndarray:
        """(S,) standard normal numbers."""
        return np.array([row.standard_normal() for row in self.rows])

    def normals(self, n: int) -> np.ndarray:
        """(S, n) standard normal numbers, float32."""
        out = np.empty((len(self.rows), n), np.float32)
        for row, values in zip(self.rows, out):
            row.standard_normal(n, np.float32, values)
        return out


# --- the star's lines ---------------------------------------------------------------------------------------


def line_errors(recipe: Recipe, draws: Draws, wave: np.ndarray) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Errors of the library's line depths, one draw per pair on `wave` (Lg,) uniform in ln λ.

    Returns f(flux, continuum) → flux, each (S, Lg); both stars of a pair get the same errors, and the same lines that
    the library lacks.
    """
    step_kms = float(np.log(wave[-1] / wave[0])) / (len(wave) - 1) * C_KMS
    amplitude = draws.uniform(0.0, recipe.line_noise)
    factor = correlated_noise(draws, len(wave), recipe.line_noise_scale / step_kms)
    factor *= amplitude[:, None].astype(np.float32)
    factor += (recipe.depth_scatter * draws.normal())[:, None].astype(np.float32)
    core, wing = recipe.balmer_core * draws.normal(), recipe.balmer_wing * draws.normal()
    if wave[0] < H_ALPHA < wave[-1]:
        velocity = C_KMS * np.log(wave / H_ALPHA)
        for scatter, width_kms in ((core, 80.0), (wing, 500.0)):
            factor += (scatter[:, None] * np.exp(-0.5 * (velocity / width_kms) ** 2)).astype(np.float32)
    stretch = torch.exp(torch.from_numpy(factor))
    missing = torch.from_numpy(_strange_lines(recipe, draws, wave, step_kms))

    def apply(flux: torch.Tensor, continuum: torch.Tensor) -> torch.Tensor:
        return (continuum - (continuum - flux) * stretch).clamp(min=0.02 * continuum) * missing

    return apply


def _strange_lines(recipe: Recipe, draws: Draws, wave: np.ndarray, step_kms: float) -> np.ndarray:
    """Transmission (S, Lg) of lines that the library lacks: lithium, and any others."""
    out = np.ones((len(draws.pair_ids), len(wave)), np.float32)
    for spectrum, random in zip(out, draws.rows if recipe.lithium or recipe.strange_lines else ()):
        places, widths = np.empty(0), np.empty(0)
        if recipe.strange_lines:
            number = random.integers(0, recipe.strange_lines + 1)
            places = random.uniform(wave[0], wave[-1], number)
            widths = random.exponential(recipe.strange_width, number)
        lithium = recipe.lithium * max(0.0, random.uniform(-1.0, 1.0))
        _absorb(spectrum, np.r_[places, LITHIUM], np.r_[widths, lithium], wave[0], step_kms)
    return out


@njit(cache=True, nogil=True)
def _absorb(spectrum, places, widths, first, step_kms):  # type: ignore[no-untyped-def]
    """In place: Gaussian lines at `places` [Å] of equivalent `widths` [Å] in a spectrum that begins at `first` [Å]."""
    reach = int(4 * STRANGE_WIDTH_KMS / step_kms)
    for line in range(len(places)):
        centre = math.log(places[line] / first) * C_KMS / step_kms
        depth = widths[line] / places[line] * C_KMS / (STRANGE_WIDTH_KMS * math.sqrt(2 * math.pi))
        for pixel in range(max(0, int(centre) - reach), min(len(spectrum), int(centre) + reach)):
            distance = (pixel - centre) * step_kms / STRANGE_WIDTH_KMS
            spectrum[pixel] *= 1 - min(depth, 0.9) * math.exp(-0.5 * distance**2)


def correlated_noise(draws: Draws, n_pixels: int, scale: float) -> np.ndarray:
    """Smooth noise of unit variance, (S, n_pixels): white noise smoothed by a Gaussian of `scale` pixels.

    Random coefficients on the knots of a cubic B-spline, whose own σ is knot spacing / √3: fast and nearly
    Gaussian.
    """
    spacing = max(1, round(scale * np.sqrt(3)))
    n_knots = -(-n_pixels // spacing) + 3
    t = (np.arange(spacing) + 0.5) / spacing
    basis = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (1 - t) ** 3 - 6 * (1 - t) ** 2 + 4, t**3]
    )  # (4, spacing)
    basis /= np.sqrt((basis**2).sum(0).mean())
    coefficients = draws.normals(n_knots)
    noise = np.zeros((len(coefficients), n_knots - 3, spacing), np.float32)
    for k, weights in enumerate(basis.astype(np.float32)):
        noise += coefficients[:, k : k + n_knots - 3, None] * weights
    return noise.reshape(len(coefficients), -1)[:, :n_pixels]


# --- the spectrograph ---------------------------------------------------------------------------------------


def false_continuum(recipe: Recipe, draws: Draws, n_pixels: int) -> np.ndarray:
    """A smooth factor of order one, (S, n_pixels), by which flux calibration went wrong."""
    terms = np.stack([scatter * draws.normal() for scatter in recipe.tilt], axis=1)
    legendre = np.polynomial.legendre.legvander(np.linspace(-1, 1, n_pixels), len(recipe.tilt))[:, 1:]
    # Broadcast, not matmul: the sums then run in the same order whatever the number of rows.
    exponent = sum(terms[:, k, None] * legendre[:, k] for k in range(len(recipe.tilt)))
    return torch.exp(torch.from_numpy(exponent)).numpy()  # four times as fast as numpy's


def resampled_noise(draws: Draws, wave: np.ndarray, native_step: float) -> np.ndarray:
    """White noise on detector pixels, carried to `wave` (L,) by linear interpolation: (S, L) float32.

    Detector pixels have unit variance and a random phase; the interpolated noise has mean variance 2/3 and is
    correlated between neighbours (0.5 for LAMOST MRS). Each spectrum mixes it with white noise of the same
    variance in a random proportion, because reductions differ.
    """
    position = C_KMS * np.log(wave / wave[0]) / native_step
    n_native = int(position[-1]) + 3
    native = draws.normals(n_native)
    white = draws.normals(len(wave))
    phase = draws.uniform(0.0, 1.0)
    _mix_resampled(native, white, position, phase, draws.uniform(0.0, 1.0))
    return white


@njit(cache=True, nogil=True)
def _mix_resampled(native, white, position, phase, mixed):  # type: ignore[no-untyped-def]
    """In place: white ← √(1 − mixed) √⅔ white + √mixed · (native interpolated at position + phase)."""
    for row in range(len(white)):
        keep, take = math.sqrt((1 - mixed[row]) * 2 / 3), math.sqrt(mixed[row])
        for pixel in range(len(position)):
            at = position[pixel] + phase[row]
            left = int(at)
            t = at - left
            smooth = native[row, left] * (1 - t) + native[row, left + 1] * t
            white[row, pixel] = keep * white[row, pixel] + take * smooth


def spoil_pixels(recipe: Recipe, draws: Draws, flux: np.ndarray) -> None:
    """Put 1–5 bad-pixel events into a fraction of the spectra `flux` (S, L) of mean one, in place.

    Residual cosmic rays (40 %), dips (20 %) and runs bridged by a straight line (40 %), as ingestion leaves
    them.
    """
    n_pixels = flux.shape[1]
    for spectrum, random in zip(flux, draws.rows):
        if random.random() >= recipe.bad_fraction:
            continue
        for _ in range(random.integers(1, 6)):
            first = int(random.integers(0, n_pixels - 26))
            width = int(random.integers(1, 7))
            event = random.random()
            if event < 0.4:
                spectrum[first : first + width] += random.exponential(0.3)
            elif event < 0.6:
                spectrum[first : first + width] -= random.exponential(0.1)
            else:
                last = first + int(random.integers(2, 25))
                spectrum[first : last + 1] = np.linspace(spectrum[first], spectrum[last], last - first + 1)


# --- the sky ------------------------------------------------------------------------------------------------


def nebular_emission(
    recipe: Recipe, draws: Draws, wave: np.ndarray, resolution: np.ndarray, certain: np.ndarray | None = None
) -> np.ndarray:
    """Narrow nebular lines of a fraction of pairs, and of all that are `certain` (S,) bool: (S, L) in units of the
    mean flux; 0 where Hα is not on `wave`.

    Strength log-uniform 0.05–2; a fifth is negative (over-subtracted sky); [N II] and [S II] scaled by U(0,
    0.6); a velocity of its own, N(0, 20²) km/s; width 10 km/s and the line spread of `resolution` (S,).
    """
    out = np.zeros((len(resolution), len(wave)))
    if not wave[0] < H_ALPHA < wave[-1]:
        return out
    must = np.zeros(len(resolution), bool) if certain is None else certain
    for spectrum, power, random, sure in zip(out, resolution, draws.rows, must):
        if random.random() >= recipe.emission_fraction and not sure:
            continue
        strength = np.exp(random.uniform(np.log(0.05), np.log(2.0)))
        sign = -0.2 if random.random() < 0.2 else 1.0
        forbidden = random.uniform(0.0, 0.6)
        velocity = random.normal(0.0, 20.0)
        sigma = np.hypot(10.0, C_KMS / power / 2.3548)
        for centre, ratio, scaled in NEBULAR_LINES:
            distance = C_KMS * np.log(wave / centre) - velocity
            height = sign * strength * ratio * (forbidden if scaled else 1.0)
            spectrum += height * np.exp(-0.5 * (distance / sigma) ** 2)
    return out


def telluric_water(recipe: Recipe, draws: Draws, wave: np.ndarray, resolution: np.ndarray) -> np.ndarray:
    """Transmission of the water-vapour lines around Hα, (S, L); 1 where the band is not on `wave`.

    Where a line falls in the star's rest frame depends on the star's velocity, so places are drawn at random
    over WATER_BAND: the lesson for a classifier is not to trust single narrow lines there. Depths are
    exponential with a typical value of U(0, telluric_depth); widths are the line spread of `resolution` (S,).
    """
    out = np.ones((len(resolution), len(wave)))
    if not wave[0] < WATER_BAND[0] < wave[-1]:
        return out
    for spectrum, power, random in zip(out, resolution, draws.rows):
        typical = random.uniform(0.0, recipe.telluric_depth)
        sigma = C_KMS / power / 2.3548
        for centre in random.uniform(*WATER_BAND, WATER_LINES):
            near = slice(*np.searchsorted(wave, (centre - 3.0, centre + 3.0)))
            distance = C_KMS * (wave[near] / centre - 1.0)
            depth = typical * random.exponential()
            spectrum[near] *= 1.0 - min(depth, 0.9) * np.exp(-0.5 * (distance / sigma) ** 2)
    return out

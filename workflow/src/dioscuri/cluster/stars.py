"""The stars of a simulated globular cluster: positions, masses, magnitudes in two filters, wide and tight pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dioscuri.stars.analytic import TEFF_SUN, Z_SUN
from dioscuri.stars.hurley import MASS_MIN, Formulae

PARSEC = 3.0857e18  # cm
SOLAR_RADIUS = 6.957e10  # cm
HC_K = 1.438777  # second radiation constant [cm K]
TWO_PI_HC2 = 3.741772e-5  # first radiation constant, 2πhc² [erg cm² s⁻¹]
AU_PER_ARCSEC_KPC = 1000.0
SINGLE, TIGHT, WIDE = "single", "tight", "wide"
SEPARATIONS = ("uniform", "log_uniform")


@dataclass(frozen=True)
class Filter:
    """`pivot` wavelength [Å], `photflam` [erg cm⁻² s⁻¹ Å⁻¹ per e⁻ s⁻¹] and `extinction` towards M4 [mag]."""

    pivot: float
    photflam: float
    extinction: float

    @property
    def zero_point(self) -> float:
        """STMAG of one electron per second."""
        return -2.5 * np.log10(self.photflam) - 21.1


# WFC3/UVIS (instrument handbook); extinction for E(B − V) = 0.37 and R_V = 3.6 (Hendricks et al. 2012).
FILTERS = {
    "F467M": Filter(4682.6, 2.10e-18, 1.57),
    "F775W": Filter(7647.6, 2.09e-19, 0.87),
}


@dataclass(frozen=True)
class Cluster:
    """What is drawn. The defaults are M4 (NGC 6121), as Wu et al. (2023, §4.1) describe it, seen in a small field.

    n_stars: systems in the field. distance [kpc], age [Gyr], feh: of all stars. core_radius and tidal_radius
    [arcsec] of the King (1962) surface density; M4's are 64″ (0.53 pc) and 3100″. mass_min [M☉] and mass_slope:
    dN/dm ∝ m^−slope, up to the tip of the giant branch. colour_scatter [mag]: differential reddening.

    Pairs: wide_fraction of all systems have a separation between sep_min and sep_max [arcsec] on the sky,
    `uniform` or `log_uniform`; inside the core radius the fraction is wide_fraction_core where that is given.
    tight_fraction have one between a hundredth of sep_min and sep_min. Mass ratios are uniform in
    (mass_ratio_min, 1).
    """

    n_stars: int = 2500
    ra: float = 245.89675
    dec: float = -26.52575
    distance: float = 1.72
    age: float = 12.7
    feh: float = -1.1
    core_radius: float = 12.0
    tidal_radius: float = 3100.0
    mass_min: float = 0.25
    mass_slope: float = 0.3
    colour_scatter: float = 0.01
    wide_fraction: float = 0.1
    wide_fraction_core: float | None = None
    tight_fraction: float = 0.1
    separation: str = "uniform"
    sep_min: float = 0.003962
    sep_max: float = 0.07924
    mass_ratio_min: float = 0.3

    def __post_init__(self) -> None:
        if self.separation not in SEPARATIONS:
            raise ValueError(f"cluster: separation is '{self.separation}'; accepted: {', '.join(SEPARATIONS)}")
        if not 0 < self.sep_min < self.sep_max:
            raise ValueError(f"cluster: sep_min {self.sep_min}, sep_max {self.sep_max}; accepted: 0 < min < max")
        largest = max(self.wide_fraction, self.wide_fraction_core or 0.0)
        if min(self.wide_fraction, self.tight_fraction, self.wide_fraction_core or 0.0) < 0 or (
            largest + self.tight_fraction > 1
        ):
            raise ValueError("cluster: wide and tight fractions must be 0 or more and sum to 1 at most")


class Isochrone:
    """Magnitudes of single stars of one age and [Fe/H]: analytic tracks, black bodies at the pivot wavelengths."""

    def __init__(self, cluster: Cluster) -> None:
        self._formulae = Formulae(Z_SUN * 10**cluster.feh)
        self._age, self._distance = np.array(cluster.age * 1000.0), cluster.distance
        grid = np.arange(MASS_MIN, 1.2, 1e-5)
        alive = np.isfinite(self._formulae.evolve(grid, self._age)[0])
        self.mass_max = float(grid[alive][-1])

    def magnitude(self, mass: np.ndarray, band: Filter) -> np.ndarray:
        """STMAG in `band` of stars with `mass` (S,) [M☉], extinction included."""
        luminosity, radius = self._formulae.evolve(mass, self._age)
        teff = TEFF_SUN * (luminosity / radius**2) ** 0.25
        wave = band.pivot * 1e-8
        surface = TWO_PI_HC2 / wave**5 / np.expm1(HC_K / (wave * teff)) * 1e-8  # erg s⁻¹ cm⁻² Å⁻¹
        dilution = (radius * SOLAR_RADIUS / (self._distance * 1e3 * PARSEC)) ** 2
        return -2.5 * np.log10(surface * dilution) - 21.1 + band.extinction


def draw_cluster(cluster: Cluster, bands: Sequence[str], half_sides: tuple[float, float], seed: int) -> pd.DataFrame:
    """The systems of a field of ± `half_sides` (east, north) [arcsec] around the centre, one row each.

    xi, eta: position of the brighter star, arcsec east and north of the centre; xi2, eta2: of the other;
    sep [arcsec], sep_au and sky_angle [deg, east of north] of a pair, 0 without; mag1_<filter>, mag2_<filter>,
    mag_<filter> (together) and flux_ratio_<filter>.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, 0]))
    isochrone = Isochrone(cluster)
    n = cluster.n_stars
    xi, eta = _king_positions(cluster, half_sides, rng)
    radius = np.hypot(xi, eta)
    in_core = radius <= cluster.core_radius

    power = 1.0 - cluster.mass_slope
    low, high = cluster.mass_min**power, isochrone.mass_max**power
    mass1 = (low + (high - low) * rng.random(n)) ** (1 / power)
    mass2 = np.maximum(mass1 * rng.uniform(cluster.mass_ratio_min, 1.0, n), MASS_MIN)

    core = cluster.wide_fraction if cluster.wide_fraction_core is None else cluster.wide_fraction_core
    wide_fraction = np.where(in_core, core, cluster.wide_fraction)
    u, v = rng.random(n), rng.random(n)
    kind = np.where(u < wide_fraction, WIDE, np.where(u < wide_fraction + cluster.tight_fraction, TIGHT, SINGLE))
    if cluster.separation == "uniform":
        wide_sep = cluster.sep_min + (cluster.sep_max - cluster.sep_min) * v
    else:
        wide_sep = cluster.sep_min * (cluster.sep_max / cluster.sep_min) ** v
    sep = np.select([kind == WIDE, kind == TIGHT], [wide_sep, cluster.sep_min * 100.0 ** (v - 1.0)], 0.0)
    angle = np.where(kind == SINGLE, 0.0, rng.uniform(0.0, 2 * np.pi, n))
    mass2 = np.where(kind == SINGLE, 0.0, mass2)
    reddening = rng.normal(0.0, cluster.colour_scatter, n)

    columns = {
        "star_id": np.arange(n),
        "kind": kind,
        "is_binary": kind != SINGLE,
        "xi": xi,
        "eta": eta,
        "xi2": xi + sep * np.sin(angle),
        "eta2": eta + sep * np.cos(angle),
        "radius": radius,
        "in_core": in_core,
        "mass1": mass1,
        "mass2": mass2,
        "sep": sep,
        "sep_au": sep * cluster.distance * AU_PER_ARCSEC_KPC,
        "sky_angle": np.degrees(angle),
    }
    reddest = max(bands, key=lambda name: FILTERS[name].pivot)
    for name in bands:
        band = FILTERS[name]
        # The scatter is one of colour: reddening relative to the reddest filter.
        extra = reddening * (band.extinction / FILTERS[reddest].extinction - 1.0) if name != reddest else 0.0
        columns |= _pair_magnitudes(name, isochrone, band, mass1, mass2, extra)
    return pd.DataFrame(columns)


def _pair_magnitudes(
    name: str, isochrone: Isochrone, band: Filter, mass1: np.ndarray, mass2: np.ndarray, extra: np.ndarray | float
) -> Mapping[str, np.ndarray]:
    paired = mass2 > 0
    mag1 = isochrone.magnitude(mass1, band) + extra
    mag2 = np.full(len(mass1), np.nan)
    mag2[paired] = isochrone.magnitude(mass2[paired], band) + np.broadcast_to(extra, paired.shape)[paired]
    ratio = np.where(paired, 10 ** (-0.4 * (mag2 - mag1)), 0.0)
    return {
        f"mag1_{name}": mag1,
        f"mag2_{name}": mag2,
        f"mag_{name}": mag1 - 2.5 * np.log10(1.0 + ratio),
        f"flux_ratio_{name}": ratio,
    }


def _king_positions(
    cluster: Cluster, half_sides: tuple[float, float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (n_stars,) in the field, by rejection from King's (1962, AJ 67, 471) surface density."""
    edge = (1 + (cluster.tidal_radius / cluster.core_radius) ** 2) ** -0.5
    xi, eta = np.empty(0), np.empty(0)
    while len(xi) < cluster.n_stars:
        x, y = (rng.uniform(-side, side, 4 * cluster.n_stars) for side in half_sides)
        law = (1 + (x**2 + y**2) / cluster.core_radius**2) ** -0.5 - edge
        kept = rng.random(len(x)) < (np.maximum(law, 0.0) / (1 - edge)) ** 2
        xi, eta = np.append(xi, x[kept]), np.append(eta, y[kept])
    return xi[: cluster.n_stars], eta[: cluster.n_stars]

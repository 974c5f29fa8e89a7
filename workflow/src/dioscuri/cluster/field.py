"""A simulated cluster field as HST would deliver it: two filters, several dithers, genuine 'flt' files, known truth."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from dioscuri.cluster.detector import Detector, expose
from dioscuri.cluster.frames import Frame, write_flt
from dioscuri.cluster.scene import Scene
from dioscuri.cluster.stars import FILTERS, Cluster, draw_cluster
from dioscuri.io import atomic
from dioscuri.psf.effective import Psf
from dioscuri.psf.grids import read_stdpsf
from dioscuri.psf.optics import OPTICS, optical_psf

log = logging.getLogger(__name__)

PIXEL_SCALE = 0.03962  # arcsec, WFC3/UVIS
CHIP_SHAPE = 2051, 4096  # px, of WFC3/UVIS
CHIP_GAP = 35.0  # px between the chips of WFC3/UVIS
MARGIN = 25.0  # px: stars this far off a chip still send light onto it
UNRESOLVED = 2.0  # px: closer stars make one source (Wu et al. 2023, §4.2)


@dataclass(frozen=True)
class Band:
    """The exposures in one filter: their time [s], how many, and the sky in each pixel of them [e-]."""

    exposure_time: float
    exposures: int
    background: float


@dataclass(frozen=True)
class PsfVariation:
    """How the PSF changes: over the detector slowly, and from exposure to exposure (breathing of the telescope).

    wfe [nm rms]: of random wavefronts beside the nominal one; wfe_variation [nm]: greatest change of it;
    jitter_variation: greatest relative change of the jitter. wavefront_change: how far the shape of the wavefront
    goes from one corner of the field to the opposite one, as a share of the way between two independent wavefronts.
    grid: PSFs along each side of a chip. files: filter → a STDPSF grid, whose PSFs in the middle of the chip stand for
    these; from exposure to exposure its focus changes by up to wfe_variation, and its jitter.
    """

    jitter_variation: float = 0.02
    wfe: float = 15.0
    wfe_variation: float = 6.0
    wavefront_change: float = 0.3
    grid: int = 3
    size: int = 41
    oversampling: int = 4
    files: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Field:
    """What is simulated. `shape` (H, W) of a chip [px]; `chips` 1 or 2, as WFC3/UVIS has them, one above the other.

    dither [px] and roll [deg]: greatest shift and turn of an exposure. pointing_error [arcsec], rms on either
    axis: what the WCS of an exposure is off by.
    """

    shape: tuple[int, int] = (1000, 1000)
    chips: int = 1
    bands: Mapping[str, Band] = field(
        default_factory=lambda: {"F467M": Band(367.0, 3, 12.0), "F775W": Band(20.0, 4, 4.0)}
    )
    dither: float = 12.0
    roll: float = 0.1
    pointing_error: float = 0.02
    cluster: Cluster = field(default_factory=Cluster)
    detector: Detector = field(default_factory=Detector)
    psf: PsfVariation = field(default_factory=PsfVariation)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Field":
        """From plain settings: the fields above, `bands`, `cluster`, `detector` and `psf` as mappings."""
        plain = dict(settings)
        made: dict[str, Any] = {
            name: kind(**plain.pop(name))
            for name, kind in (("cluster", Cluster), ("detector", Detector), ("psf", PsfVariation))
            if name in plain
        }
        if "bands" in plain:
            made["bands"] = {name: Band(**band) for name, band in plain.pop("bands").items()}
        if "shape" in plain:
            made["shape"] = tuple(plain.pop("shape"))
        return cls(**plain, **made)

    def __post_init__(self) -> None:
        unknown = [name for name in self.bands if name not in FILTERS]
        if unknown or not self.bands or self.chips not in (1, 2):
            raise ValueError(
                f"field: filters {list(self.bands)}, {self.chips} chips; accepted: filters of {list(FILTERS)}, "
                "1 or 2 chips"
            )

    def exposures(self) -> dict[str, str]:
        """Exposure name → filter; the files are <name>_flt.fits."""
        return {
            f"sim{name.lower()}{number}q": name
            for name, band in self.bands.items()
            for number in range(1, band.exposures + 1)
        }

    def mosaic(self) -> tuple[float, float]:
        """Height and width of all chips together [px]."""
        return self.chips * self.shape[0] + (self.chips - 1) * CHIP_GAP, float(self.shape[1])


def simulate(out_dir: str | os.PathLike, seed: int, settings: Mapping[str, Any] | Field) -> list[Path]:
    """Write a cluster field into `out_dir` and return the exposures' paths.

    <exposure>_flt.fits: genuine layout. truth.parquet: a row per system (`draw_cluster`, with ra, dec, x, y on
    the undithered detector, nearest neighbours). truth_exposures.parquet: a row per system and exposure that
    sees it (positions, fluxes, saturation; the WCS's error included). psf/<exposure>_<extension>.npz: the PSFs
    that painted it, on a grid of positions. An exposure depends on (seed, its number) alone.
    """
    plan = settings if isinstance(settings, Field) else Field.from_settings(settings)
    out_dir = Path(out_dir)
    height, width = plan.mosaic()
    reach = plan.dither + MARGIN
    sides = ((width / 2 + reach) * PIXEL_SCALE, (height / 2 + reach) * PIXEL_SCALE)
    stars = draw_cluster(plan.cluster, list(plan.bands), sides, seed)
    sky = _tangent_plane(plan.cluster)
    for end in ("", "2"):
        stars[f"ra{end}"], stars[f"dec{end}"] = sky.wcs_pix2world(stars[f"xi{end}"], stars[f"eta{end}"], 0)
    paths, seen = [], []
    bases = {name: _base_psfs(name, plan.psf) for name in plan.bands}
    for number, (exposure, band) in enumerate(plan.exposures().items(), start=1):
        rng = np.random.Generator(np.random.Philox(key=[seed, number]))
        frames, table = _expose(plan, exposure, band, stars, bases[band], rng, out_dir / "psf")
        paths.append(out_dir / f"{exposure}_flt.fits")
        write_flt(paths[-1], frames, {"TARGNAME": "SIMULATED", "PROPOSID": 0, "ORIGIN": "dioscuri simulation"})
        seen.append(table)
        log.info("%s: %d systems on %d chips", paths[-1].name, len(table), len(frames))
    wcs = _chip_wcs(plan, 0, (0.0, 0.0), 0.0)
    stars["x"], stars["y"] = wcs.wcs_world2pix(stars["ra"], stars["dec"], 0)
    _neighbours(stars, max(plan.bands, key=lambda name: FILTERS[name].pivot))
    _write(out_dir / "truth.parquet", stars)
    _write(out_dir / "truth_exposures.parquet", pd.concat(seen, ignore_index=True))
    return paths


def _expose(
    plan: Field,
    exposure: str,
    band: str,
    stars: pd.DataFrame,
    base: np.ndarray,
    rng: np.random.Generator,
    psf_folder: Path,
) -> tuple[list[Frame], pd.DataFrame]:
    """The frames of one exposure and where its stars truly are."""
    settings, shape = plan.bands[band], plan.shape
    shift = tuple(rng.uniform(-plan.dither, plan.dither, 2))
    roll = rng.uniform(-plan.roll, plan.roll)
    error = rng.normal(0.0, plan.pointing_error, 2)
    breathing = rng.uniform(-1.0, 1.0, 2)
    flux = [
        settings.exposure_time * 10 ** (-0.4 * (stars[f"mag{n}_{band}"] - FILTERS[band].zero_point)) for n in (1, 2)
    ]
    flux1, flux2 = flux[0].to_numpy(), np.nan_to_num(flux[1].to_numpy())
    frames, tables = [], []
    for index in range(plan.chips):
        wcs = _chip_wcs(plan, index, shift, roll)
        psf = _field_psf(plan, band, index, base, breathing)
        psf.save(psf_folder / f"{exposure}_{index + 1}.npz")
        x1, y1 = wcs.wcs_world2pix(stars["ra"], stars["dec"], 0)
        x2, y2 = wcs.wcs_world2pix(stars["ra2"], stars["dec2"], 0)
        expected = np.full(shape, float(settings.background))
        scene = Scene(psf)
        for x, y, light in ((x1, y1, flux1), (x2, y2, flux2)):
            near = (np.abs(x - shape[1] / 2) < shape[1] / 2 + MARGIN) & (
                np.abs(y - shape[0] / 2) < shape[0] / 2 + MARGIN
            )
            scene.paint(expected, x[near], y[near], light[near])
        science, sigma, dq = expose(expected, settings.exposure_time, plan.detector, rng)
        told = wcs.deepcopy()
        told.wcs.crval = wcs.wcs.crval + error / 3600.0 / [np.cos(np.radians(plan.cluster.dec)), 1.0]
        frame = Frame(
            science=science,
            error=sigma,
            dq=dq,
            wcs=told,
            filter=band,
            exposure_time=settings.exposure_time,
            exposure=exposure,
            extension=index + 1,
            chip=plan.chips - index,  # EXTVER 1 is chip 2 of WFC3/UVIS
            pixel_scale=PIXEL_SCALE,
            orientation=roll,
            read_noise=plan.detector.read_noise,
            zero_point=FILTERS[band].zero_point,
        )
        frames.append(frame)
        tables.append(_positions(frame, stars["star_id"].to_numpy(), x1, y1, flux1, x2, y2, flux2))
    return frames, pd.concat(tables, ignore_index=True)


def _positions(frame: Frame, star_id, x1, y1, flux1, x2, y2, flux2) -> pd.DataFrame:
    """The systems on a frame; x, y is their photocentre, position_angle [rad] from +x towards +y."""
    total = flux1 + flux2
    share = flux2 / total
    x, y = x1 + share * (x2 - x1), y1 + share * (y2 - y1)
    paired = flux2 > 0
    height, width = frame.shape
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    full = np.pad(frame.saturated(), 1)
    row, column = (np.rint(np.where(inside, values, 0.0)).astype(int) for values in (y, x))
    saturated = np.zeros(len(x), bool)
    for i in range(3):
        for j in range(3):
            saturated |= full[row + i, column + j]
    table = pd.DataFrame(
        {
            "star_id": star_id, "exposure": frame.exposure, "filter": frame.filter, "extension": frame.extension,
            "x": x, "y": y, "flux": total, "x1": x1, "y1": y1, "flux1": flux1, "x2": x2, "y2": y2, "flux2": flux2,
            "sep": np.where(paired, np.hypot(x2 - x1, y2 - y1), 0.0),
            "position_angle": np.where(paired, np.arctan2(y2 - y1, x2 - x1) % (2 * np.pi), 0.0),
            "flux_ratio": np.where(paired, flux2 / flux1, 0.0),
            "saturated": saturated,
        }
    )  # fmt: skip
    return table[inside]


def _neighbours(stars: pd.DataFrame, band: str) -> None:
    """Add neighbour_sep [px] and neighbour_flux_ratio of the nearest other system, n_neighbours within 2 px."""
    tree = cKDTree(stars[["x", "y"]])
    distance, index = tree.query(stars[["x", "y"]], k=2)
    mag = stars[f"mag_{band}"].to_numpy()
    stars["neighbour_sep"] = distance[:, 1]
    stars["neighbour_flux_ratio"] = 10 ** (-0.4 * (mag[index[:, 1]] - mag))
    stars["n_neighbours"] = [len(near) - 1 for near in tree.query_ball_point(stars[["x", "y"]], UNRESOLVED)]


def _tangent_plane(cluster: Cluster) -> WCS:
    """Arcseconds east and north of the cluster's centre as pixel coordinates (origin 0)."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [cluster.ra, cluster.dec]
    wcs.wcs.crpix = [1.0, 1.0]
    wcs.wcs.cd = np.eye(2) / 3600.0
    return wcs


def _chip_wcs(plan: Field, index: int, shift: tuple[float, ...], roll: float) -> WCS:
    """The WCS of a chip (0 is the lower one) of an exposure shifted [px] and rolled [deg]; north is up without roll."""
    wcs = _tangent_plane(plan.cluster)
    height, width = plan.mosaic()
    lower_edge = index * (plan.shape[0] + CHIP_GAP)
    wcs.wcs.crpix = [(width + 1) / 2 + shift[0], (height + 1) / 2 + shift[1] - lower_edge]
    cosine, sine = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    wcs.wcs.cd = np.array([[-cosine, sine], [sine, cosine]]) * PIXEL_SCALE / 3600.0
    return wcs


def _base_psfs(band: str, variation: PsfVariation) -> np.ndarray:
    """PSFs at the corners of what varies: (2 wavefronts, 2 amplitudes, 2 jitters, n, n).

    They fade over their outer quarter: cut off at once, the wings of bright stars would end in squares.
    """
    n = (variation.size - 1) * variation.oversampling + 1
    from_centre = np.abs(np.arange(n) / (n // 2) - 1)
    fade = np.cos(np.pi / 2 * np.clip(4 * np.hypot(from_centre[:, None], from_centre) - 3, 0, 1)) ** 2
    nominal = OPTICS[f"hst_{band.lower()}"]
    samples = [
        optical_psf(
            nominal,
            jitter=nominal.jitter * (1 + side * variation.jitter_variation),
            wfe_nm=nominal.wfe_nm + variation.wfe + more * variation.wfe_variation,
            wfe_seed=wavefront,
            oversampling=variation.oversampling,
            size=variation.size,
        ).samples[0]
        for wavefront in (0, 1)
        for more in (-1, 1)
        for side in (-1, 1)
    ]
    return (np.stack(samples) * fade).reshape(2, 2, 2, n, n)


def _field_psf(plan: Field, band: str, index: int, base: np.ndarray, breathing: np.ndarray) -> Psf:
    """The PSFs of one chip and exposure on a grid of positions: between the base PSFs, slowly varying.

    `breathing` (2,) in ±1 moves the whole field in wavefront amplitude (of a grid: focus) and jitter.
    """
    if band in plan.psf.files:
        return _grid_psf(plan, band, index, breathing)
    variation, nominal = plan.psf, OPTICS[f"hst_{band.lower()}"]
    height, width = plan.shape
    nodes = np.linspace(0.0, 1.0, variation.grid)
    row, column = (plane.ravel() for plane in np.meshgrid(nodes, nodes, indexing="ij"))
    across, up = 2 * column - 1, 2 * (row + index) / plan.chips - 1
    shape_share = 0.5 + variation.wavefront_change * (0.3 * across + 0.2 * up)
    amplitude = np.clip(0.3 * across * up + 0.3 * up + 0.4 * breathing[0], -1, 1)
    jitter = np.clip(0.4 * across - 0.1 * up + 0.5 * breathing[1], -1, 1)
    samples = np.tensordot(np.stack([1 - shape_share, shape_share], 1), base, 1)  # (grid², 2, 2, n, n)
    for weight in (amplitude, jitter):
        halves = np.stack([(1 - weight) / 2, (1 + weight) / 2], 1)
        samples = np.einsum("kc,kc...->k...", halves, samples)
    return Psf(
        samples=samples,
        oversampling=variation.oversampling,
        pixel_scale=PIXEL_SCALE,
        parameters={
            "x": column * (width - 1),
            "y": row * (height - 1),
            "jitter": nominal.jitter * (1 + jitter * variation.jitter_variation),
            "wfe": nominal.wfe_nm + variation.wfe + amplitude * variation.wfe_variation,
        },
        provenance={"source": "simulated field", "filter": band},
    )


def _grid_psf(plan: Field, band: str, index: int, breathing: np.ndarray) -> Psf:
    """The PSFs of a STDPSF grid over the middle of its chip, `breathing` (2,) in focus and jitter as optics do."""
    variation, nominal = plan.psf, OPTICS[f"hst_{band.lower()}"]
    chip = plan.chips - index if plan.chips > 1 else 2
    grid = read_stdpsf(variation.files[band], chip=chip, pixel_scale=PIXEL_SCALE)
    size = 2 * -(-(grid.samples.shape[1] - 1) // (2 * grid.oversampling)) + 1
    form: dict[str, Any] = {"oversampling": grid.oversampling, "size": size}
    jitter = nominal.jitter * (1 + breathing[1] * variation.jitter_variation)
    there = optical_psf(nominal, jitter=jitter, focus_nm=breathing[0] * variation.wfe_variation, **form).samples[0]
    change = there - optical_psf(nominal, **form).samples[0]
    inner = slice((len(change) - grid.samples.shape[1]) // 2, (len(change) + grid.samples.shape[1]) // 2)
    left, below = ((whole - side) / 2 for whole, side in zip(CHIP_SHAPE[::-1], plan.shape[::-1]))
    moved = {"x": grid.parameters["x"] - left, "y": grid.parameters["y"] - below}
    return replace(grid, samples=grid.samples + change[inner, inner], parameters=moved)


def _write(path: Path, table: pd.DataFrame) -> None:
    with atomic(path) as temporary:
        table.to_parquet(temporary, index=False)

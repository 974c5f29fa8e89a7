"""Light of field systems as LRS would see it without noise: from columns of stars.field to fluxes at rest."""

from collections.abc import Mapping

import numpy as np

from dioscuri.libraries.grid import AXES, SpectralLibrary
from dioscuri.mocks.chain import SUN, SUN_VSINI
from dioscuri.spectra import lrs_frame
from dioscuri.synthesis.kinematics import Kinematics

BATCH = 256
FAINT = 0.005  # share of the light at 5500 Å below which a secondary is left out of it
ARM = "full"  # the library's window


class LightMaker:
    """Adds up the light of one or two stars from a library, turning, moving and seen at a resolving power."""

    def __init__(self, library: SpectralLibrary) -> None:
        self.library = library
        self.kinematics = Kinematics(library.grid(ARM), lrs_frame.FINE, library.resolution)

    def usable(self, systems: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which systems (N,) the library can serve: their primary, and their secondary unless it is too faint."""
        bright = (systems["radius2"] > 0) & (light_share(systems) >= FAINT)
        return self._inside(systems, 1) & (self._inside(systems, 2) | ~bright)

    def __call__(
        self,
        systems: Mapping[str, np.ndarray],
        v1: np.ndarray | float = 0.0,
        v2: np.ndarray | float = 0.0,
        resolution: np.ndarray | float = lrs_frame.RESOLUTION,
        moon_share: np.ndarray | float = 0.0,
        moon_rv: np.ndarray | float = 30.0,
    ) -> np.ndarray:
        """Fluxes (N, L) float32 of mean one on `lrs_frame.WAVE`, of columns of `stars.field` that are `usable`.

        `v1`, `v2` [km/s] of the stars in the frame; `moon_share` (N,) of the light is the Sun's at `moon_rv` (N,).
        """
        n = len(systems["teff1"])
        each = [np.broadcast_to(np.asarray(v, float), (n,)) for v in (v1, v2, resolution, moon_share, moon_rv)]
        out = np.empty((n, len(lrs_frame.WAVE)), np.float32)
        for start in range(0, n, BATCH):
            part = slice(start, min(start + BATCH, n))
            rows = {name: values[part] for name, values in systems.items()}
            out[part] = self._batch(rows, *(values[part] for values in each))
        return out

    def _batch(self, rows, v1, v2, resolution, moon_share, moon_rv) -> np.ndarray:
        light = self._star(rows, 1, rows["vsini1"], v1, resolution) * rows["radius1"][:, None] ** 2
        bright = np.flatnonzero((rows["radius2"] > 0) & (light_share(rows) >= FAINT))
        if len(bright):
            second = {name: values[bright] for name, values in rows.items()}
            two = self._star(second, 2, second["vsini2"], v2[bright], resolution[bright])
            light[bright] += two * second["radius2"][:, None] ** 2
        light = lrs_frame.binned(light)
        light /= light.mean(1, keepdims=True)
        lit = np.flatnonzero(moon_share > 0)
        if len(lit):
            flux = self.library.flux(ARM, np.array([SUN])).expand(len(lit), -1)
            sun = lrs_frame.binned(self.kinematics(flux, SUN_VSINI, moon_rv[lit], resolution[lit]).numpy())
            share = moon_share[lit, None]
            light[lit] += share / (1 - share) * sun / sun.mean(1, keepdims=True)
        return light

    def _star(self, rows, number: int, vsini, rv, resolution) -> np.ndarray:
        flux = self.library.flux(ARM, self.labels(rows, number))
        return self.kinematics(flux, vsini, rv, resolution).numpy()

    def labels(self, rows: Mapping[str, np.ndarray], number: int) -> np.ndarray:
        """Labels (N, 4); gravity and composition beyond the library move to its border, which changes little there."""
        columns = {"teff": rows[f"teff{number}"], "logg": rows[f"logg{number}"], "feh": rows["feh"], "afe": rows["afe"]}
        labels = np.stack([np.asarray(columns[name], float) for name in AXES], axis=1)
        low, high = np.transpose(list(self.library.limits.values()))
        labels[:, 1:] = np.clip(labels[:, 1:], low[1:], high[1:])
        return labels

    def _inside(self, systems: Mapping[str, np.ndarray], number: int) -> np.ndarray:
        return self.library.covered(self.labels(systems, number))


def light_share(systems: Mapping[str, np.ndarray], wave: float = 5500.0) -> np.ndarray:
    """The secondary's share of the light (N,) at `wave` [Å], of black bodies."""
    one, two = (systems[f"radius{k}"] ** 2 / np.expm1(1.4388e8 / wave / systems[f"teff{k}"]) for k in (1, 2))
    return two / (one + two)

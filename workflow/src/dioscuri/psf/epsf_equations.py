"""The least-squares problem behind an ePSF: its spline, the pixels of its stars, and the correction sought."""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.interpolate import BSpline
from scipy.ndimage import convolve1d, gaussian_filter, maximum_filter, spline_filter
from scipy.sparse.linalg import LinearOperator, cg

from dioscuri.psf.effective import Psf

log = logging.getLogger(__name__)

CORE = 4  # px on either side of a star: what its flux and position are taken from
MODEL_ERROR = 0.01  # of a star's model: else the few brightest stars would decide alone
NEIGHBOUR_ERROR = 0.1  # of a neighbour's model, whose flux is only roughly known
OUTLIER = 4.0  # σ: where a pixel begins to lose its weight (Cauchy), as an unflagged cosmic ray must
FEWEST_PIXELS = 10  # good ones in the core: a star has three numbers, and a shape to be seen
FARTHEST = 1.0  # px: a star that the fit moves farther was not where it was said to be
FLUX_TOLERANCE = 1e-4  # to which a correction leaves the flux of the PSF
SHIFT_TOLERANCE = 1e-3  # samples, to which it leaves its centre


@dataclass(frozen=True)
class Spline:
    """An ePSF as cubic B-splines, whose coefficients (n, n) sit at the samples."""

    coefficients: np.ndarray
    oversampling: int

    @classmethod
    def of(cls, psf: Psf) -> "Spline":
        """The first member of `psf`."""
        return cls(spline_filter(psf.samples[0], order=3, mode="mirror"), psf.oversampling)

    def samples(self) -> np.ndarray:
        """Values at the samples, (n, n): the inverse of the spline filter."""
        values = np.array([1.0, 4.0, 1.0]) / 6
        return convolve1d(convolve1d(self.coefficients, values, axis=0, mode="mirror"), values, axis=1, mode="mirror")

    def basis(self, pixels: np.ndarray, position: float, *, slope: bool = False) -> np.ndarray:
        """Weights (P, n) of the coefficients in `pixels` for a star at `position`; or their slopes with it."""
        n = len(self.coefficients)
        at = n // 2 + (pixels - position) * self.oversampling
        knots = np.arange(n + 4) - 2.0  # so that spline j is centred on sample j
        outside = (at < 1) | (at > n - 2)
        at = np.clip(at, 1, n - 2)
        if slope:
            quadratic = BSpline.design_matrix(at, knots, 2).toarray()
            weights = (quadratic[:, 1:] - quadratic[:, :-1]) * self.oversampling
        else:
            weights = BSpline.design_matrix(at, knots, 3).toarray()
        weights[outside] = 0.0
        return weights

    def image(self, star: "Star", x: float, y: float) -> np.ndarray:
        """A star of unit flux at (x, y) in the cut-out of `star`, (R, C)."""
        return self.basis(star.rows, y) @ self.coefficients @ self.basis(star.columns, x).T

    def image_and_slopes(self, star: "Star") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`star` with unit flux, and its derivatives with respect to x and y, each (R, C)."""
        along_x = self.coefficients @ self.basis(star.columns, star.x).T
        rows = self.basis(star.rows, star.y)
        slope_x = rows @ self.coefficients @ self.basis(star.columns, star.x, slope=True).T
        return rows @ along_x, slope_x, self.basis(star.rows, star.y, slope=True) @ along_x


@dataclass
class Star:
    """A star and the R × C pixels around it; `variance` is infinite in pixels of no use."""

    x: float
    y: float
    flux: float
    begun: tuple[float, float]
    rows: np.ndarray
    columns: np.ndarray
    pixels: np.ndarray
    variance: np.ndarray
    core: np.ndarray
    data: np.ndarray  # the pixels without the neighbours
    neighbour_variance: np.ndarray

    @classmethod
    def cut(
        cls, science: np.ndarray, error: np.ndarray, bad: np.ndarray, x: float, y: float, flux: float, half: int
    ) -> "Star":
        i, j = round(float(y)), round(float(x))
        rows = np.arange(max(i - half, 0), min(i + half + 1, science.shape[0]))
        columns = np.arange(max(j - half, 0), min(j + half + 1, science.shape[1]))
        window = np.ix_(rows, columns)
        pixels = science[window].astype(float)
        good = ~bad[window].astype(bool) & np.isfinite(pixels)
        variance = np.where(good, error[window].astype(float) ** 2, np.inf)
        core = (np.abs(rows - i) <= CORE)[:, None] & (np.abs(columns - j) <= CORE)[None, :]
        pixels = np.where(good, pixels, 0.0)
        flux = float(flux) if (good & core).sum() >= FEWEST_PIXELS else np.nan
        begun = float(x), float(y)
        return cls(*begun, flux, begun, rows, columns, pixels, variance, core, pixels, np.zeros_like(pixels))

    @property
    def lost(self) -> bool:
        """Whether it has too few good pixels or no light, or ran away in a fit: it then has no flux either."""
        return not self.flux > 0

    def subtract(self, model: Spline, neighbours: np.ndarray) -> None:
        """Take the light of `neighbours` (N, 3: x, y, flux) away."""
        light = np.zeros_like(self.pixels)
        for x, y, flux in neighbours:
            light += flux * model.image(self, x, y)
        self.data = self.pixels - light
        self.neighbour_variance = (NEIGHBOUR_ERROR * light) ** 2

    def weights(self, model_image: np.ndarray) -> np.ndarray:
        """Inverse variance with the model's own error in it, less where a pixel is an outlier, (R, C)."""
        variance = self.variance + self.neighbour_variance + (MODEL_ERROR * model_image) ** 2
        return 1 / (variance * (1 + (self.data - model_image) ** 2 / (OUTLIER**2 * variance)))

    def fit(self, model: Spline, steps: int = 6) -> None:
        """Fit flux, x and y to the core by Gauss–Newton steps; the flux first, to begin near it."""
        image = model.image(self, self.x, self.y)
        weights = np.where(self.core, 1 / (self.variance + self.neighbour_variance), 0.0)
        self.flux = float((weights * image * self.data).sum() / (weights * image**2).sum())
        for _ in range(steps):
            image, slope_x, slope_y = model.image_and_slopes(self)
            weights = np.where(self.core, self.weights(self.flux * image), 0.0).ravel()
            design = np.stack([image.ravel(), self.flux * slope_x.ravel(), self.flux * slope_y.ravel()], axis=1)
            residual = (self.data - self.flux * image).ravel()
            step = np.linalg.lstsq(design.T @ (design * weights[:, None]), design.T @ (weights * residual))[0]
            self.flux += step[0]
            self.x += float(np.clip(step[1], -0.5, 0.5))
            self.y += float(np.clip(step[2], -0.5, 0.5))
        moved = np.hypot(self.x - self.begun[0], self.y - self.begun[1])
        if not (self.flux > 0 and moved <= FARTHEST):
            self.flux = np.nan

    def chi2(self, model: Spline) -> float:
        """χ² a pixel of the core, the model's own error included; NaN for a lost star."""
        if self.lost:
            return np.nan
        image = self.flux * model.image(self, self.x, self.y)
        variance = self.variance + self.neighbour_variance + (MODEL_ERROR * image) ** 2
        good = self.core & np.isfinite(self.variance)
        return float(((self.data - image) ** 2 / variance)[good].mean())


@dataclass(frozen=True)
class Equations:
    """Weighted linear equations of P pixels for a correction.

    design (P, unknowns); left (P,): what the uncorrected PSF leaves; free (P, 3·stars): an orthonormal basis
    of what changes of fluxes and positions do to the pixels; owner (P,): the star of each pixel.
    """

    design: sparse.csr_array
    left: np.ndarray
    free: sparse.csr_array
    owner: np.ndarray

    def counted(self, counts: np.ndarray) -> "Equations":
        """The same with every star taken `counts` times."""
        root = np.sqrt(counts)[self.owner]
        return dataclasses.replace(self, design=sparse.diags_array(root) @ self.design, left=root * self.left)


def equations(stars: Sequence[Star], model: Spline, correction: "Correction") -> Equations:
    """The equations of all pixels of `stars`, whose weights and slopes are those of the present `model`."""
    design, left, free, owner = [], [], [], []
    for number, star in enumerate(stars):
        image, slope_x, slope_y = model.image_and_slopes(star)
        root = np.sqrt(star.weights(star.flux * image)).ravel()
        rows, columns = model.basis(star.rows, star.y), model.basis(star.columns, star.x)
        uncorrected = star.flux * (rows @ correction.start @ columns.T)
        inner = correction.inner
        basis = sparse.kron(sparse.csr_array(rows[:, inner]), sparse.csr_array(columns[:, inner]), format="csr")
        design.append(sparse.diags_array(root * star.flux) @ basis)
        left.append(root * (star.data - uncorrected).ravel())
        changes = np.stack([image.ravel(), slope_x.ravel(), slope_y.ravel()], axis=1)
        free.append(np.linalg.qr(root[:, None] * changes)[0])
        owner.append(np.full(root.size, number))
    return Equations(
        sparse.vstack(design, format="csr") @ sparse.diags_array(correction.envelope.ravel()),
        np.concatenate(left),
        sparse.block_diag(free, format="csr"),
        np.concatenate(owner),
    )


@dataclass(frozen=True)
class Correction:
    """The unknowns: relative corrections of the coefficients `start` (n, n) in the window `inner`, N × N.

    They are multiplied by `envelope` (N, N), the start's PSF without its dark rings; `prior` (N², N²) is the
    inverse of their prior covariance. `fixed` (3, N²): the relative change of the flux and the shifts along x
    and y [samples], each over its tolerance; they must be nought, as the stars cannot tell them from their own
    fluxes and positions.
    """

    start: np.ndarray
    inner: slice
    envelope: np.ndarray
    prior: sparse.csr_array
    fixed: np.ndarray

    @classmethod
    def of(cls, psf: Psf, half: int, smoothness: float, amplitude: float) -> "Correction":
        step, centre = psf.oversampling, psf.centre
        # A star lies up to half a pixel off the centre of its cut-out before it is fitted.
        reach = int(np.ceil((half + 0.5 + FARTHEST) * step)) + 2
        if reach > centre:
            raise ValueError(
                f"ePSF: the start covers {2 * centre / step:g} px, cut-outs of {2 * half + 1} px need "
                f"{2 * reach / step:g}; give a larger start or smaller cut-outs"
            )
        inner = slice(centre - reach, centre + reach + 1)
        n = 2 * reach + 1
        envelope = gaussian_filter(maximum_filter(psf.samples[0], step + 1), step / 2)[inner, inner]
        envelope = envelope + 1e-3 * envelope.max()
        first = sparse.diags_array([-np.ones(n - 1), np.ones(n - 1)], offsets=[0, 1], shape=(n - 1, n))
        second = sparse.diags_array(
            [np.ones(n - 2), np.full(n - 2, -2.0), np.ones(n - 2)], offsets=[0, 1, 2], shape=(n - 2, n)
        )
        one, slopes, bends = sparse.eye_array(n), first.T @ first, second.T @ second
        curvature = sparse.kron(bends, one) + sparse.kron(one, bends) + 2 * sparse.kron(slopes, slopes)
        prior = smoothness**2 * curvature + amplitude**-2 * sparse.eye_array(n * n)
        start = Spline.of(psf).coefficients
        window = start[inner, inner]
        slope_y, slope_x = np.gradient(window)
        shifts = np.linalg.pinv(np.stack([slope_x.ravel(), slope_y.ravel()], axis=1))
        fixed = np.vstack([np.full((1, n * n), 1 / window.sum() / FLUX_TOLERANCE), shifts / SHIFT_TOLERANCE])
        return cls(start, inner, envelope, prior.tocsr(), fixed * envelope.ravel())

    @property
    def n_unknown(self) -> int:
        """N²."""
        return self.envelope.size

    def solve(self, pixels: Equations, begin: np.ndarray) -> np.ndarray:
        """The correction (N²,) that fits best when every star's flux and position follow it.

        Changes of flux and position are projected out of the equations (variable projection): alternating with
        them instead creeps, since a broader PSF and a larger flux do much the same to a core.
        """
        design, free = pixels.design, pixels.free
        transposed, free_transposed = design.T.tocsr(), free.T.tocsr()

        def normal(v: np.ndarray) -> np.ndarray:
            seen = design @ v
            by_pixels = transposed @ (seen - free @ (free_transposed @ seen))
            return by_pixels + self.prior @ v + self.fixed.T @ (self.fixed @ v)

        size = (self.n_unknown, self.n_unknown)
        scale = 1 / (design.power(2).sum(axis=0) + self.prior.diagonal())
        solution, status = cg(
            LinearOperator(size, matvec=normal, dtype=float),
            transposed @ (pixels.left - free @ (free_transposed @ pixels.left)),
            x0=begin,
            rtol=1e-4,
            maxiter=2000,
            M=sparse.diags_array(scale),
        )
        if status:
            log.warning("ePSF: the linear equations were solved less well than to 1e-4 in %d steps", status)
        return solution

    def apply(self, solution: np.ndarray) -> np.ndarray:
        """Corrected coefficients (n, n)."""
        corrected = self.start.copy()
        corrected[self.inner, self.inner] += self.envelope * solution.reshape(self.envelope.shape)
        return corrected

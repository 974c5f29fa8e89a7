"""Skies that no collapse makes, drawn at random: what `predict --survey protostar` must not believe."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

FWHM = np.sqrt(8 * np.log(2))
PRIMARY = 100.0  # AU above the middle: where `predict` lays the brightest peak
OFFSET = 200.0  # AU: or as far from there, in each direction, where somebody says where the stars are
DEX = 2.0  # peaks are 10^±2 times that of the median member

Sky = Callable[["Plane", np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Plane:
    """Places (H, W) in AU, to the right and up."""

    x: np.ndarray
    y: np.ndarray

    def radius(self, rng: np.random.Generator, flattest: float) -> tuple[np.ndarray, np.ndarray]:
        """Radius and angle in the plane of a disc of random position angle and axis ratio ≥ `flattest`."""
        angle = rng.uniform(0, np.pi)
        along = self.x * np.cos(angle) + self.y * np.sin(angle)
        across = (self.y * np.cos(angle) - self.x * np.sin(angle)) / rng.uniform(flattest, 1)
        return np.hypot(along, across), np.arctan2(across, along)

    def star(self, x: float = 0.0, y: float = 0.0) -> np.ndarray:
        """What no beam resolves."""
        return np.exp(-0.5 * ((self.x - x) ** 2 + (self.y - y) ** 2) / 10.0**2)


def point(plane: Plane, rng: np.random.Generator) -> np.ndarray:
    return plane.star()


def galaxy(plane: Plane, rng: np.random.Generator) -> np.ndarray:
    """An exponential disc of scale length 30 to 500 AU."""
    return np.exp(-plane.radius(rng, 0.15)[0] / 10 ** rng.uniform(1.5, 2.7))


def spiral(plane: Plane, rng: np.random.Generator) -> np.ndarray:
    radius, angle = plane.radius(rng, 0.2)
    winding = np.log(radius / 50 + 0.1) / np.tan(rng.uniform(0.2, 0.6))
    arms = 1 + rng.uniform(0.5, 1) * np.cos(rng.integers(1, 4) * (angle - winding))
    return np.exp(-radius / rng.uniform(60, 350)) * arms


def elliptical(plane: Plane, rng: np.random.Generator) -> np.ndarray:
    """A Sérsic profile of index 1.5 to 4."""
    return np.exp(-((plane.radius(rng, 0.5)[0] / rng.uniform(20, 100)) ** (1 / rng.uniform(1.5, 4))))


def blob(plane: Plane, rng: np.random.Generator) -> np.ndarray:
    return np.exp(-0.5 * (plane.radius(rng, 0.3)[0] / rng.uniform(40, 500)) ** 2)


def ring(plane: Plane, rng: np.random.Generator) -> np.ndarray:
    return np.exp(-0.5 * ((plane.radius(rng, 0.3)[0] - rng.uniform(80, 600)) / rng.uniform(20, 120)) ** 2)


def cluster(plane: Plane, rng: np.random.Generator) -> np.ndarray:
    """Three to eight point sources."""
    places = rng.uniform(-600, 600, (rng.integers(3, 9), 2))
    return np.sum([10 ** rng.uniform(-1, 0) * plane.star(*place) for place in places], axis=0)


def wide_pair(plane: Plane, rng: np.random.Generator) -> np.ndarray:
    """Two point sources 400 to 1,000 AU apart."""
    return plane.star() + 10 ** rng.uniform(-0.5, 0) * plane.star(0.0, -rng.uniform(400, 1000))


def jet(plane: Plane, rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, np.pi)
    along = plane.x * np.cos(angle) + plane.y * np.sin(angle)
    across = plane.y * np.cos(angle) - plane.x * np.sin(angle)
    return np.exp(-0.5 * (across / rng.uniform(10, 40)) ** 2 - 0.5 * (along / rng.uniform(300, 900)) ** 2)


def gradient(plane: Plane, rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    slope = rng.uniform(0.1, 1) / 800
    return np.clip(1 + slope * (plane.x * np.cos(angle) + plane.y * np.sin(angle)), 0, None)


def clouds(plane: Plane, rng: np.random.Generator) -> np.ndarray:
    """Log-normal, with a power law of spatial frequencies."""
    frequency = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, plane.x.shape)))
    frequency[0, 0] = 1 / len(frequency)
    noise = np.fft.fft2(rng.normal(size=plane.x.shape)) * frequency ** -rng.uniform(1, 2)
    field = np.fft.ifft2(noise).real
    return np.exp(rng.uniform(0.5, 1.5) * field / field.std())


# The first two are the bar; the others were those of development, with other numbers.
SKIES: dict[str, Sky] = {
    sky.__name__.replace("_", " "): sky
    for sky in (point, galaxy, spiral, elliptical, blob, ring, cluster, wide_pair, jet, gradient, clouds)
}


def draw(
    sky: Sky, n: int, n_pixels: int, pixel_au: float, beam_au: float, peak: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, n_pixels, n_pixels) of one kind, of the unit of `peak`, and their peaks in units of it (n,).

    The brightest place is where the primary is in every second one, and somewhere about it in the others.
    """
    images, factors = [], []
    offsets = pixel_au * (np.arange(2 * n_pixels) - n_pixels + 0.5)
    inner = slice(n_pixels // 2, n_pixels // 2 + n_pixels)
    for number in range(n):
        rng = np.random.default_rng([seed, number])
        whole = ndimage.gaussian_filter(sky(Plane(*np.meshgrid(offsets, offsets)), rng), beam_au / pixel_au / FWHM)
        brightest = np.array(np.unravel_index(whole[inner, inner].argmax(), (n_pixels, n_pixels))) + n_pixels // 2
        wanted = np.array([PRIMARY, 0.0]) + (number % 2) * rng.uniform(-OFFSET, OFFSET, 2)
        first = np.rint(brightest - 0.5 * (n_pixels - 1) - wanted / pixel_au).astype(int).clip(0, n_pixels)
        image = whole[first[0] : first[0] + n_pixels, first[1] : first[1] + n_pixels]
        factors.append(10 ** rng.uniform(-DEX, DEX))
        images.append(factors[-1] * peak * image / image.max())
    return np.array(images, np.float32), np.array(factors)

"""Turns stamps into what the networks see: the channels of a named rendering."""

from typing import TYPE_CHECKING

import numpy as np

from dioscuri.psf.render import SIZE

if TYPE_CHECKING:
    from dioscuri.stamps.mocks import Renderer

# Rendering → its number of channels.
RENDERINGS = {"compact": 3, "rgb_log": 1, "rgb_linear": 1, "rgb_log_8bit": 1, "rgb_linear_8bit": 1}
_BATCH = 4096  # stamps rendered at a time
_FAINTEST = 1.0  # electrons; black in a logarithmic image


def make_channels(
    stamps: np.ndarray,
    rendering: str,
    *,
    variance: float | np.ndarray = 0.0,
    renderer: "Renderer | None" = None,
    member: int | np.ndarray = 0,
) -> np.ndarray:
    """Channels (B, C, 14, 14) float32 of background-subtracted stamps (B, 14, 14) [electrons].

    compact: (1) asinh of the image; (2) what the best single star leaves [σ], (3) what the best single star in
    the very centre of the stamp leaves [σ]: the first says how bright and where, the second is the shape, the
    third the place. It needs the `renderer` of the PSF that an observer would assume (its `member`, a number or
    (B,)) and the `variance` [e²] of the background, a number or (B, 14, 14) with inf in bad pixels; those get the
    fitted star.

    rgb_log, rgb_linear: a picture in [0, 1] from the faintest level (1 e⁻, or 0) to the stamp's brightest pixel,
    as one of the three equal colours of Wu et al. (2023, Fig. 2); with _8bit in 256 steps, as in an image file.
    """
    if rendering not in RENDERINGS:
        raise ValueError(f"unknown rendering '{rendering}'; accepted: {', '.join(RENDERINGS)}")
    stamps = np.asarray(stamps, np.float32)
    if stamps.ndim != 3 or stamps.shape[1:] != (SIZE, SIZE):
        raise ValueError(f"stamps of shape {stamps.shape}; accepted: (B, {SIZE}, {SIZE})")
    if rendering == "compact":
        if renderer is None:
            raise ValueError("the rendering 'compact' fits a star to every stamp: give it the PSF's renderer")
        variance = np.broadcast_to(np.asarray(variance, float), stamps.shape)
        parts = [slice(first, first + _BATCH) for first in range(0, len(stamps), _BATCH)]
        members = renderer.members(member, len(stamps))
        channels = [_compact(stamps[part], variance[part], renderer, members[part]) for part in parts]
        return np.concatenate(channels) if channels else np.empty((0, 3, SIZE, SIZE), np.float32)
    return _picture(stamps, np.isinf(np.broadcast_to(variance, stamps.shape)), rendering)


def _compact(stamps: np.ndarray, variance: np.ndarray, renderer: "Renderer", member: np.ndarray) -> np.ndarray:
    from dioscuri.stamps.optimum import fit_single

    single = fit_single(stamps, variance, renderer, member=member)
    bad = ~np.isfinite(variance) | ~np.isfinite(stamps)
    if bad.any():
        stars = renderer.render(single.x, single.y, single.flux, member=member, size=SIZE)
        stamps = np.where(bad, stars, stamps)
    centred = _residual_of_centred_star(stamps, np.where(bad, np.inf, variance), single.flux, renderer, member)
    # Divisors bring the channels to the order of one; beyond 10 σ only the sign of a shape matters.
    return np.stack(
        [
            np.arcsinh(stamps / 10) / 8,
            np.clip(single.residual, -10, 10) / 3,
            np.arcsinh(centred) / 3,
        ],
        axis=1,
    ).astype(np.float32)


def _residual_of_centred_star(
    stamps: np.ndarray, variance: np.ndarray, flux: np.ndarray, renderer: "Renderer", member: np.ndarray
) -> np.ndarray:
    """Stamps minus the best star in their centre [σ], 0 in bad pixels; `flux` (B,) [e] sets the photon noise."""
    centre = (SIZE - 1) / 2
    star = renderer.render(centre, centre, 1.0, member=member, size=SIZE)
    weight = 1.0 / (np.maximum(star, 0.0) * flux[:, None, None] + variance)
    best = (weight * star * stamps).sum(axis=(1, 2)) / (weight * star**2).sum(axis=(1, 2))
    model = np.maximum(best, 0.0)[:, None, None] * star
    return (stamps - model) / np.sqrt(np.maximum(model, 0.0) + variance)


def _picture(stamps: np.ndarray, bad: np.ndarray, rendering: str) -> np.ndarray:
    logarithmic = rendering.startswith("rgb_log")
    faintest = _FAINTEST if logarithmic else 0.0
    levels = np.where(bad | ~np.isfinite(stamps), faintest, np.maximum(stamps, faintest))
    if logarithmic:
        levels = np.log10(levels)
    brightest = levels.max(axis=(1, 2), keepdims=True)
    picture = np.divide(levels, brightest, out=np.zeros_like(levels), where=brightest > 0)
    if rendering.endswith("_8bit"):
        picture = np.round(picture * 255) / 255
    return picture[:, None].astype(np.float32)

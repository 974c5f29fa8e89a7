"""What predictions on images share: which networks, which PSF, and the words for what could not be scored."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dioscuri.paths import models_folder

if TYPE_CHECKING:
    from dioscuri.learn.images.inference import Classifier

RELEASED, CALIBRATION = "compact.safetensors", "calibration.json"
OK, LIKELIHOOD = "ok", "ok: likelihood only"
BAYES = "log_bf: ln of the Bayes factor, two stars : one"
LIKELIHOODS = ("needed", "all")
PAIR_ABOVE = 0.0  # ln of the Bayes factor from which separation, angle and flux ratio are given


def find_networks(survey: str, folder: Path | Sequence[str] | None) -> "Classifier | None":
    """The networks of a survey: released ones, or those of a results folder; None where there are none.

    `folder` (None: the released models) has <survey>/compact.safetensors, or is the results folder of a run, whose
    cases with hidden positions and unequal pairs go first; or it is a list of the files. Given and without networks
    it is a ValueError.
    """
    from dioscuri.learn.images.inference import Classifier

    if folder is not None and not isinstance(folder, Path):
        return Classifier.load(list(folder))
    root = folder or models_folder()
    released = root / survey / RELEASED
    if released.is_file():
        return Classifier.load(_with_calibration([released], released.parent))
    trained = sorted((root / survey).glob("*/*/seed*/model.ckpt")) if folder else []
    if not trained:
        if folder:
            raise ValueError(
                f"{folder}: no networks of {survey}; accepted: a folder with {survey}/{RELEASED}, or results/<preset> "
                f"of a run with {survey}/<case>/<network>/seed<n>/model.ckpt"
            )
        return None
    wanted = ("field_uniform", "robust_uniform", "random_uniform", "robust_equal", "random_equal")
    cases = [path.parts[-4] for path in trained]
    case = next((name for name in wanted if name in cases), cases[0])
    network = next(path.parts[-3] for path in trained if path.parts[-4] == case)
    chosen = [path for path in trained if path.parts[-4] == case and path.parts[-3] == network]
    return Classifier.load(_with_calibration(chosen, chosen[0].parents[1]))


def _with_calibration(models: list[Path], folder: Path) -> list[Path]:
    """The files of networks, and the calibration in `folder` that makes probabilities of what they answer."""
    calibration = folder / CALIBRATION
    return [*models, calibration] if calibration.is_file() else models


def check_likelihood(value: str) -> None:
    """A ValueError for what --likelihood does not know."""
    if value not in LIKELIHOODS:
        raise ValueError(f"--likelihood is '{value}'; accepted: {', '.join(LIKELIHOODS)}")


def network_caption(classifier: "Classifier | None") -> str:
    """Which networks the probabilities come from."""
    if classifier is None:
        return "no networks found: p is missing, log_bf (natural logarithm of the Bayes factor) stands alone"
    case, n = classifier.context.get("case", ""), len(classifier.infos)
    if classifier.calibration is None:
        return f"p: mean of {n} networks (case {case}), a score, not calibrated; {BAYES}"
    prior = "probability of two stars where half of all sources are: multiply the odds by your own prior"
    return f"p: {prior} ({n} networks, case {case}); {BAYES}"


def likely(p: Any, log_bf: Any) -> np.ndarray:
    """Which rows stand out: p above ½ where there are networks, and the likelihood in favour."""
    p, log_bf = np.asarray(p, float), np.asarray(log_bf, float)
    with np.errstate(invalid="ignore"):
        return (np.isnan(p) | (p > 0.5)) & (log_bf > PAIR_ABOVE)

"""Numbers printed by Wu et al. (2023, PSF-based Analysis for Detecting Unresolved Wide Binaries)."""

from typing import NamedTuple


class PublishedScores(NamedTuple):
    """What one network reached on its validation set; rates are None where the paper has none."""

    accuracy: float
    auc: float
    fpr: float | None = None
    fnr: float | None = None


# §3.1 and Figs. 4 and 10: survey → network → accuracy, AUC and the two errors of the confusion matrix.
VALIDATION: dict[str, dict[str, PublishedScores]] = {
    "csst": {
        "efficientnet_b3": PublishedScores(0.972, 0.997, 0.023, 0.032),
        "resnet34": PublishedScores(0.86, 0.944),
    },
    "hst": {"efficientnet_b3": PublishedScores(0.965, 0.996, 0.032, 0.035)},
}

# §3.2 and §3.3 (CSST): S/N or separation [pixels] → accuracy; the text gives only these of the points drawn.
ACCURACY: dict[str, dict[str, dict[float, float]]] = {
    "csst": {"snr": {30: 0.80, 55: 0.93, 155: 0.99}, "sep": {0.1: 0.77, 2.0: 0.984}},
}

# §2.1: stars per square degree → share of chance alignments within 0.15″.
CHANCE_ALIGNMENTS = {1e6: 0.003, 1e7: 0.025}
CHANCE_RADIUS = 0.15  # arcsec


def validation(survey: str, network: str) -> PublishedScores | None:
    """What the paper's network of that name reached, or its EfficientNet-B3; None for other surveys."""
    published = VALIDATION.get(survey, {})
    return published.get(network, published.get("efficientnet_b3"))


def accuracy(survey: str, axis: str) -> dict[float, float]:
    """The paper's accuracy along `axis` (snr, sep) at the points that the text gives."""
    return ACCURACY.get(survey, {}).get(axis, {})

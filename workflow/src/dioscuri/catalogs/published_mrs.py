"""Numbers printed by Zhang et al. 2022 (ApJS 258, 26) that ours stand beside."""

from typing import NamedTuple


class PublishedRates(NamedTuple):
    """Mean true and false positive rates of five models, p > 0.5, on 40,000 test pairs."""

    tpr: float
    fpr: float


# Table 3: arm → Λ → mean TPR, mean FPR.
TABLE_3: dict[str, dict[float, PublishedRates]] = {
    "blue": {
        1: PublishedRates(0.679015, 0.183200),
        2: PublishedRates(0.496245, 0.036595),
        4: PublishedRates(0.436340, 0.011250),
        8: PublishedRates(0.393160, 0.004140),
        16: PublishedRates(0.359925, 0.001275),
        32: PublishedRates(0.337955, 0.000355),
        64: PublishedRates(0.318940, 0.000205),
        128: PublishedRates(0.311070, 0.000155),
        256: PublishedRates(0.286845, 0.000055),
        512: PublishedRates(0.281780, 0.000010),
    },
    "red": {
        1: PublishedRates(0.628980, 0.151890),
        2: PublishedRates(0.483435, 0.041970),
        4: PublishedRates(0.413220, 0.011075),
        8: PublishedRates(0.368120, 0.004380),
        16: PublishedRates(0.347165, 0.001620),
        32: PublishedRates(0.312365, 0.000645),
        64: PublishedRates(0.302915, 0.000280),
        128: PublishedRates(0.276590, 0.000125),
        256: PublishedRates(0.268060, 0.000050),
        512: PublishedRates(0.256640, 0.000030),
    },
}

# §4.5: cut → (spectra, sources) of LAMOST MRS DR8 that survive it.
CANDIDATES = {"probability and bad pixels": (8367, 2314), "colour": (8003, 2198)}
# §4.5: stars, their share ("less than 1%"), median numbers of all and of candidate observations, six or more.
PAPER_STATISTICS = {
    "sources": 2198,
    "f_sb2": 0.01,
    "median_n_obs": 6,
    "median_n_candidates": 3,
    "six_or_more": 1189,
}


def table_3(arm: str, penalty: float) -> PublishedRates | None:
    """The published rates of an arm at penalty Λ, or None where the paper has none."""
    return TABLE_3.get(arm, {}).get(float(penalty))

"""The figures that rules draw, by their names: which function draws each, and how it gets what it asks for."""

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

# Group → name of the output → module and function, with arguments that the name stands for.
FIGURES: dict[str, dict[str, str | tuple[str, dict[str, Any]]]] = {
    "lamost_mrs": {
        "mock_pair": "mrs_mocks.mock_pair",
        "papers_pair": "mrs_sources.papers_pair",
        "hr_diagram": "mrs_mocks.hr_diagram",
        "learning_curves": "mrs_models.learning_curves",
        "rates": "mrs_models.tpr_against_fpr",
        "detectability": "mrs_models.detectability",
        "reliability": "mrs_models.reliability",
        "penalty_shift": "mrs_models.penalty_shift",
        "probability_blue": ("mrs_catalog.probability_vs_snr", {"arm": "blue"}),
        "probability_red": ("mrs_catalog.probability_vs_snr", {"arm": "red"}),
        "candidates": "mrs_candidates.candidates",
        "neighbours": "mrs_stars.neighbours",
        "candidate_diagram": "mrs_stars.candidate_diagram",
        "probability_vs_phase": "mrs_phases.probability_vs_phase",
        "spectra_vs_phase": "mrs_phases.spectra_vs_phase",
        "known_binaries": "mrs_counts.known_binaries",
        "observations": "mrs_counts.observations",
        "corner": "mrs_corner.corner",
        "twin_binaries": "mrs_models.twin_binaries",
        "night_recall": "mrs_catalog.night_recall",
    },
    "lamost_lrs": {
        "roc": "lrs.roc_curve",
        "distributions": "lrs.distributions",
        "by_ratio": "lrs.by_ratio",
        "eclipsing": "lrs.eclipsing",
        "catalogue": "lrs.catalogue",
        "hr_diagram": "lrs_stars.hr_diagram",
        "distances": "lrs_stars.distances",
        "colour_magnitude": "lrs_stars.colour_magnitude",
        "calibration": "lrs.calibration",
    },
    "images": {
        "psf_stamps": "images_stamps.psf_and_stamps",
        "chance_alignments": "images_stamps.chance_alignments",
        "networks": "images_networks.architectures",
        "learning_curves": "images_models.learning_curves",
        "roc": "images_models.roc_and_confusion",
        "image_reliability": "images_models.reliability",
        "occlusion": "images_stamps.occlusion",
        "accuracy_snr": ("images_models.accuracy_along", {"axis": "snr"}),
        "accuracy_sep": ("images_models.accuracy_along", {"axis": "sep"}),
        "recall_map": "images_models.recall_map",
        "psf_mismatch": "images_models.psf_mismatch",
    },
    "cluster": {
        "cmd": "images_cluster.colour_magnitude",
        "frame_psf": "images_candidates.frame_psf",
        "candidates": "images_candidates.candidate_sheet",
        "spatial_map": "images_cluster.spatial_map",
        "radial": "images_cluster.radial",
        "artificial_stars": "images_cluster.artificial_stars",
        "photometry": "images_cluster.photometry",
        "completeness": "images_cluster.completeness",
        "companions": "images_cluster.companions",
    },
    "protostar": {
        "gallery": "analogues.gallery",
        "recovery": "analogues.recovery",
        "sheet": "analogues.ranked_sheet",
        "distances": "analogues.distance_distributions",
        "domain": "trust.domain_distances",
        "coverage": "trust.coverage",
        "evolution": "analogues.evolution",
        "parameters": "analogues.parameter_histograms",
    },
}


def draw(group: str, outputs: Mapping[str, str], given: Mapping[str, Any]) -> None:
    """Draw figures of a group, output name → path: each takes those of `given`, name → value, that it asks for.

    Files that a rule leaves out (an empty list) are not given.
    """
    for name, out in outputs.items():
        entry = FIGURES[group][name]
        place, fixed = entry if isinstance(entry, tuple) else (entry, {})
        module, function = place.split(".")
        figure = getattr(import_module(f"dioscuri.plots.{module}"), function)
        asked = inspect.signature(figure).parameters
        found = {key: value for key, value in given.items() if key in asked and value != []}
        figure(out, **(found | fixed))

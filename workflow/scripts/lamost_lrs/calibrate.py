"""Calibrates every release on its own stars."""

from typing import TYPE_CHECKING

from dioscuri.catalogs.lrs_table import read_catalogue
from dioscuri.door import expand_inputs
from dioscuri.job import logged, provenance
from dioscuri.lamost.lrs_calibration import calibrate
from dioscuri.lamost.lrs_reduction import velocity_meter
from dioscuri.libraries.grid import SpectralLibrary
from dioscuri.spectra import compressed, lrs_calibration, pair_fit
from dioscuri.spectra.templates import load_templates

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    params, inputs, found = snakemake.params, snakemake.input, {}
    meter = velocity_meter(load_templates(inputs.templates, ["velocity"])["velocity"][1])
    models = [SpectralLibrary.load(inputs.library), meter, compressed.Components.load(inputs.components)]
    models.append(pair_fit.PairFitter.load(inputs.fitter))
    for release, files, catalogue in params.sources or [("SIMULATED", [inputs.stars], inputs.labels)]:
        labels = read_catalogue(catalogue, params.columns, needed=("teff", "logg", "feh"))
        found[release] = calibrate(release, expand_inputs(files), labels, *models, snrg_min=params.snrg_min)
    lrs_calibration.save(snakemake.output[0], found, provenance(dict(params.items())))

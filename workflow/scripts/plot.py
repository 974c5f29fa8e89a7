"""Draws the figures that a rule names in its outputs, each from those of its inputs and parameters that it asks for."""

from typing import TYPE_CHECKING

from dioscuri.job import logged
from dioscuri.plots.figures import draw

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with logged(snakemake.log[0]):
    settings = dict(snakemake.params.items())
    given = dict(snakemake.wildcards.items()) | dict(snakemake.input.items()) | settings
    draw(settings.pop("group"), dict(snakemake.output.items()), given | {"settings": settings})

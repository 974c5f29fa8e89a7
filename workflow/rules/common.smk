# The settings, checked; and which modules of the package a rule depends on.
import os
import re
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from dioscuri.config import ConfigError, load_config
from dioscuri.imports import closure, module_file
from dioscuri.io import digest
from dioscuri.paths import PACKAGE as INSTALLED
from dioscuri.paths import format_number, models_folder, parse_number, shard_names

ROOT = workflow.basedir  # one checkout may serve many folders: snakemake -s <checkout>/Snakefile
if not os.path.exists(
    f"{ROOT}/config/config.yaml"
):  # used as a module: snakedeploy copied config/ to where one works
    ROOT = "."


def from_here(path):
    """A path of the checkout, relative where one works in it."""
    relative = os.path.relpath(path)
    return Path(path if relative.startswith("..") else relative)


PACKAGE = from_here(f"{ROOT}/workflow/src/dioscuri")
if not PACKAGE.is_dir():  # a module comes without the package: the installed one
    PACKAGE = INSTALLED
# Leaves that every module uses: a new setting or another log line is no reason to make everything again.
LEAVES = {"__init__", "base", "config", "door", "flags", "io", "job", "machine", "paths", "shards"}


def checked_settings():
    """The settings of this run, or every mistake in them, a line each with the file or 'command line'."""
    base = [f"{ROOT}/config/{name}.yaml" for name in ("config", "surveys")]
    layers = map(from_here, [*base, *workflow.overwrite_configfiles])
    try:
        return load_config(layers, workflow.config_settings.config)
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


settings = checked_settings()
mrs = settings.lamost_mrs


def released(*parts):
    """A file of the released models."""
    return str(from_here(models_folder().joinpath(*parts)))


def flat(files):
    """The names in lists of lists."""
    return [files] if isinstance(files, str) else [name for part in files for name in flat(part)]


def code(*modules):
    """Files of package modules ('mocks.pairs') and of all they import: editing one reruns the rules it serves."""
    if strangers := [module for module in modules if module_file(PACKAGE, module) is None]:
        raise WorkflowError(f"code(): the package has no module {', '.join(strangers)}")
    return sorted(
        map(str, closure(PACKAGE, [module_file(PACKAGE, module) for module in modules], frozenset(LEAVES)))
    )


def memory(base, per_million, *tables):
    """Megabytes that a job asks for: `base`, and so many for every million rows of Parquet tables that are there."""
    from pyarrow.parquet import read_metadata

    rows = 0
    for table in flat(list(tables)):
        with suppress(OSError, ValueError):  # not there yet, or damaged, of which the job itself will tell
            rows += read_metadata(table).num_rows
    return round(base + per_million * rows / 1e6)


CATEGORIES = {
    "lamost_mrs": "LAMOST MRS",
    "lamost_lrs": "LAMOST LRS",
    "csst": "CSST",
    "hst": "HST",
    "protostar": "Protostars",
}


def shown(path, subcategory, label, caption=None, kind="figure", **labels):
    """An output as the report shows it: under its survey (the folder below <results>), with report/<caption>.rst."""
    survey = path.split("/")[1]
    return report(
        path,
        caption=f"{workflow.basedir}/workflow/report/{caption or Path(path).stem}.rst",
        category=CATEGORIES.get(survey) or (lambda wildcards: CATEGORIES[wildcards.survey]),
        subcategory=subcategory,
        labels={kind: label, **labels},
    )


wildcard_constraints:
    arm="blue|red",
    lam=r"\d+(p\d+)?",
    network="|".join(mrs.networks),
    seed=r"\d+",
    shard=r"\d{6}",
    source="embedded|mist|auto",
    split="train|validation|test",
    variant=r"\d+",

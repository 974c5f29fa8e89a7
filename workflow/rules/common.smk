# The settings, checked; and the few names that rules share.
import ast
import os
from functools import cache
from pathlib import Path

from dioscuri.config import ConfigError, load_config
from dioscuri.io import digest
from dioscuri.paths import format_number, parse_number, shard_names

PACKAGE = Path("workflow/src/dioscuri")
# Leaves that every module uses: a new setting or another log line is no reason to make everything again.
LEAVES = {"__init__", "config", "flags", "io", "job", "paths"}


def checked_settings():
    """The settings of this run, or every mistake in them, a line each with the file or 'command line'."""
    layers = [
        "config/config.yaml",
        "config/surveys.yaml",
        *workflow.overwrite_configfiles,
    ]
    names = [os.path.relpath(path) for path in layers]
    try:
        return load_config(names, workflow.config_settings.config)
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


settings = checked_settings()
mrs = settings.lamost_mrs


def library_digest():
    """Names the folder of the spectral library: the same settings find the same spectra in every preset."""
    block = settings.library.model_dump(exclude={"variants"})
    return digest([block, arm_facts("lamost_mrs"), settings.seed])


def arm_facts(survey):
    """Facts of a survey's spectrograph arms, arm → mapping."""
    return settings.instruments[survey].model_dump()["arms"]


def code(*modules):
    """Files of package modules ('spectra.mocks') and of what they import: editing one reruns the rules it serves."""
    return sorted(set().union(*(imported_by(module) for module in modules)))


@cache
def imported_by(module):
    """`module` and the modules of the package that it needs, as paths; the leaves are left out."""
    found, pending = set(), [module]
    while pending:
        path = PACKAGE.joinpath(*pending.pop().split(".")).with_suffix(".py")
        if path.stem in LEAVES or not path.exists() or str(path) in found:
            continue
        found.add(str(path))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dioscuri"):
                package = node.module.removeprefix("dioscuri").lstrip(".")
                pending += [
                    package,
                    *(f"{package}.{name.name}".lstrip(".") for name in node.names),
                ]
            elif isinstance(node, ast.Import):
                pending += [
                    name.name.removeprefix("dioscuri.") for name in node.names if "dioscuri." in name.name
                ]
    return frozenset(found)


# The probability that candidates and figures go by: the paper's Λ = 16, or the nearest that was released.
HEADLINE_PENALTY = min(mrs.inference.penalties, key=lambda penalty: abs(penalty - 16))

TARGETS = {"lamost_mrs": {}}  # survey → stage → files; each stage's rules add theirs


def surveys_of(stage):
    """Files of a stage for the surveys that the settings list."""
    return [TARGETS[survey][stage] for survey in settings.surveys]


wildcard_constraints:
    arm="blue|red",
    lam=r"\d+(p\d+)?",
    network="|".join(mrs.networks),
    seed=r"\d+",
    shard=r"\d{4}",
    source="embedded|mist|auto",
    split="train|validation|test",
    variant=r"\d+",

# The settings, checked; and which modules of the package a rule depends on.
import ast
import os
import sys
from functools import cache
from pathlib import Path

from dioscuri.config import ConfigError, load_config
from dioscuri.io import digest
from dioscuri.paths import format_number, parse_number, shard_names

PACKAGE = Path("workflow/src/dioscuri")
# Leaves that every module uses: a new setting or another log line is no reason to make everything again.
LEAVES = {"__init__", "base", "config", "flags", "io", "job", "paths"}


def checked_settings():
    """The settings of this run, or every mistake in them, a line each with the file or 'command line'."""
    layers = ["config/config.yaml", "config/surveys.yaml", *workflow.overwrite_configfiles]
    try:
        return load_config(map(os.path.relpath, layers), workflow.config_settings.config)
    except ConfigError as error:
        raise WorkflowError(str(error)) from None


settings = checked_settings()
mrs = settings.lamost_mrs


def code(*modules):
    """Files of package modules ('mocks.pairs') and of all they import: editing one reruns the rules it serves."""
    return sorted(set().union(*(imported_by(module) for module in modules)))


@cache
def imported_by(module):
    """`module` and the modules of the package that it needs, as paths; the leaves are left out."""
    found, pending = set(), [module]
    while pending:
        path = PACKAGE.joinpath(*pending.pop().split(".")).with_suffix(".py")
        if path.stem in LEAVES or str(path) in found or not path.exists():
            continue
        found.add(str(path))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dioscuri"):
                package = node.module.removeprefix("dioscuri").lstrip(".")
                pending += [package, *(f"{package}.{alias.name}".lstrip(".") for alias in node.names)]
    return frozenset(found)


wildcard_constraints:
    arm="blue|red",
    lam=r"\d+(p\d+)?",
    network="|".join(mrs.networks),
    seed=r"\d+",
    shard=r"\d{4}",
    source="embedded|mist|auto",
    split="train|validation|test",
    variant=r"\d+",

"""The files that a survey is made of: patterns to paths, and paths to shards that never change once made."""

import glob
import json
import logging
from collections.abc import Iterable
from pathlib import Path

from dioscuri.io import write_json

log = logging.getLogger(__name__)

SUFFIXES = (".fits", ".fits.gz", ".fit", ".fit.gz")
MANIFEST_SCHEMA = "dioscuri/shards/1"


class InputError(ValueError):
    """Patterns that lead to no file; the message has a line for each."""


def expand_inputs(patterns: Iterable[str | Path]) -> list[Path]:
    """The files behind file names, globs (`**` descends) and folders (to the bottom, *.fits[.gz]).

    Sorted, each file once, hidden files left out. All patterns that lead nowhere are reported together in one
    InputError. A file named outright is taken whatever its suffix: the reader decides by content.
    """
    found: set[Path] = set()
    problems = []
    for pattern in map(str, patterns):
        path = Path(pattern).expanduser()
        if path.is_dir():
            files = [p for p in path.rglob("*") if p.name.endswith(SUFFIXES) and p.is_file()]
            trouble = f"the folder holds no file that ends in {', '.join(SUFFIXES)}"
        elif glob.has_magic(pattern) and not path.exists():
            files = [Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file()]
            trouble = "no file matches this pattern"
        else:
            files = [path] if path.exists() else []
            trouble = f"no such file or folder{_nearest(path)}"
        files = [p for p in files if not p.name.startswith(".")]
        if not files:
            problems.append(f"{pattern}: {trouble}")
        found.update(files)
    if problems:
        raise InputError("\n".join(problems) + f"\npaths are relative to {Path.cwd()}")
    if not found:
        raise InputError("no spectra were named: give files, globs or folders")
    return sorted(found)


def _nearest(path: Path) -> str:
    """Where a wrong path leaves the ground: the deepest folder of it that exists."""
    for parent in path.parents:
        if parent.is_dir():
            return f" ('{parent}' exists, '{path.relative_to(parent).parts[0]}' is not in it)"
    return ""


def plan_shards(paths: Iterable[Path], per_shard: int, manifest: Path) -> dict[int, list[Path]]:
    """Shard number → its files, for `paths`; the plan is kept in `manifest` (JSON), which only ever grows.

    A file keeps its shard for good. Files not seen before fill new shards, `per_shard` each, in sorted order,
    and leave old shards alone, even one that is not full: a finished shard is never made again because of a
    new night. Shards none of whose files are wanted any more are left out of the answer, but keep their
    number.
    """
    if per_shard < 1:
        raise ValueError(f"files per shard: found {per_shard}, accepted is 1 or more")
    wanted = sorted({str(path) for path in paths})
    shards = read_manifest(manifest)
    known = {name for files in shards for name in files}
    new = [name for name in wanted if name not in known]
    if new:
        shards += [new[i : i + per_shard] for i in range(0, len(new), per_shard)]
        write_json(manifest, {"schema": MANIFEST_SCHEMA, "shards": shards})
        log.info("%s: %d new files in %d new shards", manifest, len(new), -(-len(new) // per_shard))
    kept = set(wanted)
    return {i: [Path(name) for name in files] for i, files in enumerate(shards) if kept.intersection(files)}


def read_manifest(manifest: Path) -> list[list[str]]:
    """The shards planned so far, each a list of file names; none where there is no manifest yet."""
    if not manifest.exists():
        return []
    content = json.loads(manifest.read_text())
    if content.get("schema") != MANIFEST_SCHEMA:
        raise ValueError(f"{manifest}: expected schema '{MANIFEST_SCHEMA}', found '{content.get('schema')}'")
    return content["shards"]

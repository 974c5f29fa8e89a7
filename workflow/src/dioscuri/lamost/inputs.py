"""Files of observations shared out over shards that never change once made."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from dioscuri.io import write_json

log = logging.getLogger(__name__)

MANIFEST_SCHEMA = "dioscuri/shards/1"


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
    content = json.loads(manifest.read_text(encoding="utf-8"))
    if content.get("schema") != MANIFEST_SCHEMA:
        raise ValueError(f"{manifest}: expected schema '{MANIFEST_SCHEMA}', found '{content.get('schema')}'")
    return content["shards"]

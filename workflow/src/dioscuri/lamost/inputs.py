"""Files of observations shared out over shards that change only when their files do."""

import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dioscuri.io import digest, read_provenance, write_json
from dioscuri.paths import shard_name
from dioscuri.seals import content_digest

log = logging.getLogger(__name__)

EXPOSURE = 145_000  # bytes of an exposure in both arms (genuine files have 130,000 to 166,000)
GZIP_MAGIC, SMALLEST_GZIP = b"\x1f\x8b", 20
MANIFEST_SCHEMA = "dioscuri/shards/2"


@dataclass
class Manifest:
    """What has been planned: `shards`, each the names of its files; `states` name → [size, mtime in ns, digest]."""

    shards: list[list[str]] = field(default_factory=list)
    states: dict[str, list] = field(default_factory=dict)

    def files(self, shard: int) -> list[str]:
        """The files of a shard that were there when it was planned."""
        return [name for name in self.shards[shard] if name in self.states]


def plan_shards(paths: Iterable[Path], per_shard: int, manifest: Path, exposures: int | None = None) -> dict[str, str]:
    """Shard name → fingerprint of its files and their contents, for `paths`; the plan is kept in `manifest` (JSON).

    A file keeps its shard for good. Files not seen before fill new shards in sorted order, `per_shard` each, or as many
    as hold about `exposures` (by their sizes: files of the time-domain fields hold fifty), and leave old shards alone,
    even one that is not full: a finished shard is never made again because of a
    new night. It is where one of its files was replaced, changed or taken away: contents are compared where size or
    date differ. Shards none of whose files are wanted any more are left out of the answer, but keep their number.
    """
    if per_shard < 1:
        raise ValueError(f"files per shard: found {per_shard}, accepted is 1 or more")
    wanted = sorted({str(path) for path in paths})
    plan = read_manifest(manifest)
    before = plan.states
    plan.states = {name: _state(name, before.get(name)) for name in wanted}
    known = {name for files in plan.shards for name in files}
    new = [name for name in wanted if name not in known]
    plan.shards += _shared_out(new, per_shard, exposures)
    changed = [name for name in wanted if name in before and before[name][2] != plan.states[name][2]]
    gone = sorted(before.keys() - plan.states.keys())
    for names, what in ((changed, "changed"), (gone, "no longer there, or no longer wanted")):
        for name in names:
            log.warning("%s: %s since the last run: its shard is made again", name, what)
    log.info("%s: %d files, %d of them new", manifest, len(wanted), len(new))
    if new or plan.states != before or not manifest.exists():
        write_json(manifest, {"schema": MANIFEST_SCHEMA, "shards": plan.shards, "states": plan.states})
    contents = {i: [[name, plan.states[name][2]] for name in plan.files(i)] for i in range(len(plan.shards))}
    return {shard_name(i): digest(files) for i, files in contents.items() if files}


def _shared_out(names: Sequence[str], per_shard: int, exposures: int | None) -> list[list[str]]:
    """Files in shards of at most `per_shard`, and of about `exposures` where that is given; never an empty one."""
    shards: list[list[str]] = []
    held = 0.0
    for name in names:
        holds = unpacked_size(name) / EXPOSURE if exposures is not None else 0.0
        if not shards or len(shards[-1]) == per_shard or (exposures is not None and held + holds > exposures):
            shards.append([])
            held = 0.0
        shards[-1].append(name)
        held += holds
    return shards


def unpacked_size(name: str) -> int:
    """Bytes of a file without its compression, as gzip data say themselves."""
    with open(name, "rb") as stream:
        packed = stream.read(2) == GZIP_MAGIC
        size = stream.seek(0, os.SEEK_END)
        if not packed or size < SMALLEST_GZIP:
            return size
        stream.seek(-4, os.SEEK_END)
        return int.from_bytes(stream.read(4), "little")


def _state(name: str, before: list | None) -> list:
    """Size, date and digest of a file; the digest is taken over where size and date are as before."""
    status = os.stat(name)
    here = [status.st_size, status.st_mtime_ns]
    return before if before is not None and before[:2] == here else [*here, content_digest(name)]


def read_manifest(manifest: Path) -> Manifest:
    """The plan so far. Where there is none, what the shards beside it say of themselves; else an empty one."""
    if not manifest.exists():
        return _rebuilt(manifest.parent)
    try:
        content: Any = json.loads(manifest.read_text(encoding="utf-8"))
        found = content.get("schema")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{manifest}: damaged ({error}): delete it, it is made again from the shards") from error
    if found != MANIFEST_SCHEMA:
        raise ValueError(f"{manifest}: expected schema '{MANIFEST_SCHEMA}', found '{found}': delete it")
    return Manifest(content["shards"], content["states"])


def _rebuilt(folder: Path) -> Manifest:
    """A lost manifest from the provenance of the shards in `folder`: the files of each, their contents unknown."""
    plan = Manifest()
    for path in sorted(folder.glob("shard*.h5")):
        try:
            number, files = int(path.stem.removeprefix("shard")), read_provenance(path)["sources"]["files"]
        except (ValueError, LookupError, TypeError) as error:
            log.warning("%s does not say what it was made of (%s)", path, error)
            continue
        plan.shards += [[] for _ in range(number + 1 - len(plan.shards))]
        plan.shards[number] = list(files)
    if plan.shards:
        log.warning("%s has lost its manifest: made again from %d shards", folder, len(plan.shards))
    return plan

# Which files there are: of mocks, models and observations.
import json

from dioscuri.door import places

SPLITS = ["train", "validation", "test"]
AXES = ["teff", "logg", "feh", "afe"]
SIMULATED = not mrs.spectra
NIGHT = "<results>/lamost_mrs/night" if SIMULATED else []
# The probability that candidates and figures go by: the paper's Λ = 16, or the nearest that was released.
HEADLINE_PENALTY = min(mrs.inference.penalties, key=lambda penalty: abs(penalty - 16))


def sb2_list(wildcards, input):
    """Settings of the list of known SB2s; the simulated survey brings its own."""
    given = mrs.sb2_list.model_dump()
    if mrs.sb2_list.path or not SIMULATED:
        return given
    return given | {"path": f"{input.night}/stars.csv", "columns": {"period": "sb2_period"}}


def star_table(wildcards, input):
    """Settings of the user's table of stars; the simulated survey brings its own."""
    path = mrs.table.path or (f"{input.night}/stars.csv" if SIMULATED else None)
    return mrs.table.model_dump() | {"path": path}


TARGETS = {"csst": {}, "hst": {}, "lamost_mrs": {}}  # survey → stage → files; each stage's rules add theirs


def surveys_of(stage):
    """Files of a stage for the surveys that the settings list."""
    return [TARGETS[survey][stage] for survey in settings.surveys]


def arm_facts(survey):
    """Facts of a survey's spectrograph arms, arm → mapping."""
    return settings.instruments[survey].model_dump()["arms"]


def library_digest():
    """Names the folder of the spectral library: the same settings find the same spectra in every preset."""
    return digest([settings.library.model_dump(exclude={"variants"}), arm_facts("lamost_mrs"), settings.seed])


def nodes(axis):
    """Values of an equidistant axis."""
    return [axis.min + step * axis.step for step in range(round((axis.max - axis.min) / axis.step) + 1)]


def pairs_of(split):
    """Number of pairs in a split."""
    return getattr(mrs.mocks, f"n_{split}")


def pairs_of_shard(wildcards):
    """Number of the shard's first pair within its split, and how many it holds."""
    start = int(wildcards.shard) * mrs.mocks.shard_size
    return [start, min(mrs.mocks.shard_size, pairs_of(wildcards.split) - start)]


def mock_shards(split):
    """Shards of a split."""
    shards = shard_names(pairs_of(split), mrs.mocks.shard_size)
    return expand("<results>/lamost_mrs/mocks/{split}/shard{shard}.h5", split=split, shard=shards)


def seen_shards(split, ext="h5"):
    """The same shards as they are seen by networks, or the tables of what was fitted to them."""
    shards = shard_names(pairs_of(split), mrs.mocks.shard_size)
    return expand("<results>/lamost_mrs/seen/{split}/shard{shard}.{ext}", split=split, shard=shards, ext=ext)


def learnt_shards(split):
    """What networks are trained and measured on."""
    return seen_shards(split) if mrs.mocks.seen else mock_shards(split)


def begun(wildcards):
    """Released networks that are trained further, where settings name their folder."""
    start = mrs.training.start
    return str(from_here(os.path.join(ROOT, start, f"{wildcards.arm}.safetensors"))) if start else []


def models(arms=mrs.arms, penalties=mrs.penalties, file="model.ckpt"):
    """A file of the models of some arms and penalties, all seeds."""
    return expand(
        "<results>/lamost_mrs/{arm}/{network}/lambda{lam}/seed{seed}/{file}",
        arm=arms,
        network=mrs.network,
        lam=map(format_number, penalties),
        seed=mrs.seeds,
        file=file,
    )


def of_each_penalty(file):
    """A file of the models of all penalties of an arm and seed."""
    folder = "<results>/lamost_mrs/{arm}/{network}/lambda{lam}/seed{seed}"
    return expand(f"{folder}/{file}", lam=map(format_number, mrs.penalties), allow_missing=True)


def scoring_models(arm):
    """What scores the observations of an arm: the released networks, or those of this run."""
    return (
        [released("lamost_mrs", f"{arm}.safetensors")]
        if mrs.released
        else models([arm], mrs.inference.penalties)
    )


# Velocities are measured with the spectra that the networks were trained on.
TEMPLATES = released("lamost_mrs", "templates.h5") if mrs.released else "<library>/variant0.h5"
# What fits and networks are worth was calibrated with these networks.
EVIDENCE = released("lamost_mrs", "evidence.json") if mrs.released else "<results>/lamost_mrs/evidence.json"


@cache
def walked(*patterns):
    """Fingerprint of observations by name, size and date: it changes when files come, go, or are replaced."""
    seen = set()
    for pattern in patterns:
        found = places(pattern)
        whole = found == [
            os.path.expanduser(pattern)
        ]  # a folder is read to the bottom, a glob in its last folder
        for place in found:
            folders = [place] if os.path.isdir(place) else []
            if not folders:
                seen.add(place)
            elif whole:
                folders = [folder for folder, _, _ in os.walk(place)]
            seen.update(entry.path for folder in folders for entry in os.scandir(folder) if entry.is_file())
    return digest([[path, (status := os.stat(path)).st_size, status.st_mtime_ns] for path in sorted(seen)])


def files_seen(patterns):
    """`walked`, once where Snakemake was called; its jobs, whose start would wait for millions of files, are not asked."""
    return walked(*patterns) if workflow.is_main_process else None


@cache
def planned(plan):
    """Shard → digest of its files, as the plan of its survey has it."""
    return json.loads(Path(plan).read_text(encoding="utf-8"))


def observed(pattern, survey="lamost_mrs"):
    """Files named by `pattern` for every shard of a survey's observations, known once they have been planned."""

    def files(wildcards):
        plan = getattr(checkpoints, f"plan_{survey}_shards").get().output.plan
        return expand(pattern, shard=sorted(planned(str(plan))), arm=mrs.arms)

    return files


GIVEN = {
    "lamost_mrs.spectra": mrs.spectra,
    "csst.stamps": settings.csst.stamps,
    "hst.stamps": settings.hst.stamps,
}
if nowhere := [
    f"{key}: {name}: no such file or folder"
    for key, names in GIVEN.items()
    for name in names
    if not places(name)
]:
    raise WorkflowError(
        "\n  ".join(["observations that are not there:", *nowhere, f"paths are relative to {os.getcwd()}"])
    )

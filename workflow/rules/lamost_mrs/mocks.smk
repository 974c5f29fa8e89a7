# Mock observations of known pairs.


rule make_spectra:
    """Draw pairs of stars and make the spectra of each binary and of its primary alone."""
    input:
        tracks=f"resources/tracks/{settings.tracks.source}.npz",
        libraries=expand("<library>/variant{variant}.h5", variant=range(settings.library.variants)),
        code=code("mocks.pairs", "stars.population", "stars.contaminants"),
    output:
        "<results>/lamost_mrs/mocks/{split}/shard{shard}.h5",
    log:
        "<logs>/make_spectra/{split}/shard{shard}.log",
    benchmark:
        "<benchmarks>/make_spectra/{split}/shard{shard}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=240,
    params:
        population=mrs.population.model_dump(),
        contaminants=mrs.mocks.contaminants.model_dump(),
        recipe=mrs.mocks.recipe,
        arms=arm_facts("lamost_mrs"),
        # Each split has a population of its own, so no pair is in two.
        seed=lambda wildcards: settings.seed + SPLITS.index(wildcards.split),
        pairs=pairs_of_shard,
    script:
        "../../scripts/lamost_mrs/make_spectra.py"


TARGETS["lamost_mrs"]["mocks"] = [mock_shards(split) for split in SPLITS]

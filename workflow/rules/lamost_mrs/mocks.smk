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


rule calibrate_fits:
    """Calibrate what fits of one and two stars are worth, and good for, on validation mocks."""
    input:
        mocks=mock_shards("validation"),
        library="<library>/variant0.h5",
        code=code("evaluation.mock_path"),
    output:
        "<results>/lamost_mrs/fits.json",
    log:
        "<logs>/calibrate_fits.log",
    benchmark:
        "<benchmarks>/calibrate_fits.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        arms=arm_facts("lamost_mrs"),
        penalty=HEADLINE_PENALTY,
        n_pairs=mrs.evidence.n_pairs,
        seed=settings.seed,
    script:
        "../../scripts/lamost_mrs/calibrate_fits.py"


rule see_spectra:
    """Send the mocks of one shard through the path of observations: as networks are shown them, and what was fitted."""
    input:
        mocks="<results>/lamost_mrs/mocks/{split}/shard{shard}.h5",
        library="<library>/variant0.h5",
        evidence="<results>/lamost_mrs/fits.json",
        code=code("evaluation.mock_path"),
    output:
        mocks="<results>/lamost_mrs/seen/{split}/shard{shard}.h5",
        fits="<results>/lamost_mrs/seen/{split}/shard{shard}.parquet",
    log:
        "<logs>/see_spectra/{split}/shard{shard}.log",
    benchmark:
        "<benchmarks>/see_spectra/{split}/shard{shard}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=240,
    params:
        arms=arm_facts("lamost_mrs"),
        seed=settings.seed,
    script:
        "../../scripts/lamost_mrs/see_spectra.py"


TARGETS["lamost_mrs"]["mocks"] = [mock_shards(split) for split in SPLITS]

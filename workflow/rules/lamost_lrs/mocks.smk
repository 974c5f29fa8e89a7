# Low-resolution mocks of the field.


rule make_lrs_mocks:
    """Draw systems of the field and make their spectra, normalised at rest, without noise."""
    input:
        tracks=f"resources/tracks/{settings.tracks.source}.npz",
        library="<lrs_library>/variant0.h5",
        code=code("mocks.lrs_mocks"),
    output:
        "<results>/lamost_lrs/mocks/{split}.h5",
    log:
        "<logs>/make_lrs_mocks/{split}.log",
    benchmark:
        "<benchmarks>/make_lrs_mocks/{split}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=120,
    params:
        population=lrs.population.model_dump(),
        teff=lrs.mocks.teff,
        # Tests see the field as it is; what trains sees more of what is no second star.
        disturbances=lambda wildcards: lrs.mocks.seen(wildcards.split == "train"),
        n=lambda wildcards: getattr(lrs.mocks, f"n_{wildcards.split}"),
        width=lrs.smoothing,
        # Each split has a population of its own, so no system is in two.
        seed=lambda wildcards: settings.seed + SPLITS.index(wildcards.split),
    script:
        "../../scripts/lamost_lrs/make_mocks.py"


TARGETS["lamost_lrs"]["mocks"] = expand("<results>/lamost_lrs/mocks/{split}.h5", split=["train", "test"])

# Stars, each from all its epochs: class, mass ratio, orbit; and the simulated survey against its truth.


rule classify_sources:
    """Class of every star from all its epochs, mass ratios and orbits of binaries."""
    input:
        catalog="<results>/lamost_mrs/catalogs/mrs.parquet",
        stars="<results>/lamost_mrs/catalogs/stars.parquet",
        code=code("catalogs.source_table"),
    output:
        "<results>/lamost_mrs/catalogs/sources.parquet",
    log:
        "<logs>/classify_sources.log",
    benchmark:
        "<benchmarks>/classify_sources.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt * memory(3000, 300, input.catalog),
        runtime=480,
    params:
        prior=mrs.catalog.class_prior.model_dump(),
        seed=settings.seed,
    script:
        "../../scripts/lamost_mrs/classify_sources.py"


rule describe_survey:
    """Purity and completeness of the candidates, classes and orbits, on stars whose nature is known."""
    input:
        catalog="<results>/lamost_mrs/catalogs/mrs.parquet",
        candidates="<results>/lamost_mrs/catalogs/candidates.fits",
        sources="<results>/lamost_mrs/catalogs/sources.parquet",
        night=NIGHT,
        tracks=f"resources/tracks/{settings.tracks.source}.npz",
        code=code("evaluation.mrs_survey"),
    output:
        rates="<results>/lamost_mrs/tables/survey.csv",
        summary="<results>/lamost_mrs/tables/survey.json",
    log:
        "<logs>/describe_survey.log",
    benchmark:
        "<benchmarks>/describe_survey.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        limits={axis: [nodes(getattr(settings.library, axis))[i] for i in (0, -1)] for axis in AXES},
        seed=settings.seed,
    script:
        "../../scripts/lamost_mrs/describe_survey.py"


TARGETS["lamost_mrs"]["catalogs"] += [
    rules.classify_sources.output,
    rules.describe_survey.output if SIMULATED else [],
]

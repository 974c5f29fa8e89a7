# The catalogue (Table 4 of Zhang et al. 2022) and its candidates.


rule build_catalog:
    """Join shards and scores into the catalogue."""
    input:
        shards=observed("<results>/lamost_mrs/ingest/shard{shard}.h5"),
        scores=observed("<results>/lamost_mrs/{arm}/inference/shard{shard}.parquet"),
        pairs=observed("<results>/lamost_mrs/pairs/shard{shard}.parquet"),
        evidence=EVIDENCE,
        table=mrs.table.path or [],
        night=NIGHT,  # with a table of its stars, where none is given
        code=code("catalogs.merge"),
    output:
        fits="<results>/lamost_mrs/catalogs/mrs.fits",
        parquet="<results>/lamost_mrs/catalogs/mrs.parquet",
        duplicates="<results>/lamost_mrs/catalogs/duplicates.parquet",
        stars="<results>/lamost_mrs/catalogs/stars.parquet",
    log:
        "<logs>/build_catalog.log",
    benchmark:
        "<benchmarks>/build_catalog.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt * memory(2000, 500, input.pairs),
        runtime=60,
    params:
        arms=mrs.arms,
        penalties=mrs.inference.penalties,
        models=[scoring_models(arm) for arm in mrs.arms] if mrs.released else "trained in this run",
        source_radius=mrs.catalog.source_radius,
        table=star_table,
        zero_points=mrs.catalog.model_dump(include={"zero_point", "zero_point_error"}),
    script:
        "../../scripts/lamost_mrs/build_catalog.py"


rule select_candidates:
    """SB2 candidates: every draw of every model above one half, in both arms."""
    input:
        catalog="<results>/lamost_mrs/catalogs/mrs.parquet",
        code=code("catalogs.candidates"),
    output:
        candidates="<results>/lamost_mrs/catalogs/candidates.fits",
        counts="<results>/lamost_mrs/tables/candidates.json",
    log:
        "<logs>/select_candidates.log",
    benchmark:
        "<benchmarks>/select_candidates.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt * memory(1000, 300, input.catalog),
        runtime=30,
    params:
        arms=mrs.arms,
        penalty=HEADLINE_PENALTY,
        npixbad_max=mrs.catalog.npixbad_max,
        bprp0_max=mrs.catalog.bprp0_max,
        sb2_prior=mrs.catalog.sb2_prior,
    script:
        "../../scripts/lamost_mrs/select_candidates.py"


TARGETS["lamost_mrs"]["catalogs"] = [
    "<results>/lamost_mrs/catalogs/mrs.fits",
    "<results>/lamost_mrs/catalogs/candidates.fits",
    "<results>/lamost_mrs/ingest/rejected.parquet",
]

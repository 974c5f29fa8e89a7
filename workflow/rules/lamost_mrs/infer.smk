# Probabilities of observed spectra: one job takes one shard through all models of an arm.


rule infer_shard:
    """Score one shard in one arm: every Λ, seed and noise draw (eqs. 8 and 9)."""
    input:
        shard="<results>/lamost_mrs/ingest/shard{shard}.h5",
        models=lambda wildcards: scoring_models(wildcards.arm),
        code=code("catalogs.scores"),
    output:
        "<results>/lamost_mrs/{arm}/inference/shard{shard}.parquet",
    log:
        "<logs>/infer_shard/{arm}/shard{shard}.log",
    benchmark:
        "<benchmarks>/infer_shard/{arm}/shard{shard}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=480,
    params:
        inference=mrs.inference.model_dump(),
        seed=settings.seed,
    script:
        "../../scripts/lamost_mrs/infer_shard.py"

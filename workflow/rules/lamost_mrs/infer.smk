# Probabilities of observed spectra: one job takes one shard through all models of an arm.


rule fit_pairs:
    """Fit one and two stars to the spectra of one shard: velocities, v sin i, light ratio, and how much two serve better."""
    input:
        shard="<results>/lamost_mrs/ingest/shard{shard}.h5",
        templates=TEMPLATES,
        evidence=EVIDENCE,
        code=code("catalogs.pairs", "spectra.double_lines"),
    output:
        "<results>/lamost_mrs/pairs/shard{shard}.parquet",
    log:
        "<logs>/fit_pairs/shard{shard}.log",
    benchmark:
        "<benchmarks>/fit_pairs/shard{shard}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=240,
    params:
        arms=arm_facts("lamost_mrs"),
    script:
        "../../scripts/lamost_mrs/fit_pairs.py"


rule infer_shard:
    """Score one shard in one arm: every Λ, seed and noise draw (eqs. 8 and 9), in the frames that the fits call for."""
    input:
        shard="<results>/lamost_mrs/ingest/shard{shard}.h5",
        pairs="<results>/lamost_mrs/pairs/shard{shard}.parquet",
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
        grid=lambda wildcards: arm_facts("lamost_mrs")[wildcards.arm],
    script:
        "../../scripts/lamost_mrs/infer_shard.py"

# Observations, packed once: real files, or a simulated night where none are given.


rule simulate_night:
    """Write a night of LAMOST files with known binaries, single stars and broken files, in the genuine layouts."""
    input:
        library="<library>/variant0.h5",
        code=code("lamost.night"),
    output:
        directory("<results>/lamost_mrs/night"),
    log:
        "<logs>/simulate_night.log",
    benchmark:
        "<benchmarks>/simulate_night.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        night=mrs.night.model_dump(),
        arms=arm_facts("lamost_mrs"),
        seed=settings.seed,
    script:
        "../../scripts/lamost_mrs/simulate_night.py"


rule ingest_shard:
    """Read, repair, shift to rest and normalise the spectra of one shard; refused ones are listed with their reason."""
    input:
        # A new plan is no reason to make an old shard again: its own files are (params).
        plan=ancient("<results>/lamost_mrs/ingest/plan.json"),
        manifest=ancient("<results>/lamost_mrs/ingest/manifest.json"),
        night=NIGHT,
        templates=TEMPLATES,
        code=code("lamost.ingest", "lamost.surveys", "spectra.velocity"),
    output:
        shard="<results>/lamost_mrs/ingest/shard{shard}.h5",
        rejected="<results>/lamost_mrs/ingest/rejected{shard}.parquet",
    log:
        "<logs>/ingest_shard/shard{shard}.log",
    benchmark:
        "<benchmarks>/ingest_shard/shard{shard}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=240,
    params:
        files=lambda wildcards, input: planned(str(input.plan))[wildcards.shard],
        survey="lamost_mrs",
        coadds=mrs.ingest.coadds,
        snr_min=mrs.ingest.snr_min,
        npixbad_max=mrs.catalog.npixbad_max,
        arms=arm_facts("lamost_mrs"),
    script:
        "../../scripts/lamost_mrs/ingest_shard.py"


rule list_rejected:
    """All refused exposures and files in one table."""
    input:
        observed("<results>/lamost_mrs/ingest/rejected{shard}.parquet"),
        "<results>/lamost_mrs/catalogs/duplicates.parquet",
    output:
        "<results>/lamost_mrs/ingest/rejected.parquet",
    log:
        "<logs>/list_rejected.log",
    benchmark:
        "<benchmarks>/list_rejected.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    script:
        "../../scripts/lamost_mrs/list_rejected.py"

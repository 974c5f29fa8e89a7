# Spectra: real files, or a simulated survey where none are given; reduced, calibrated and scored in shards.


rule simulate_lrs_survey:
    """Write LRS files of known stars in the genuine layout, their catalogue and truth, from another library."""
    input:
        tracks=f"resources/tracks/{settings.tracks.source}.npz",
        library=f"<lrs_library>/variant{lrs.survey.variant}.h5",
        photometry="<lrs_library>/photometry.h5",
        code=code("lamost.lrs_survey"),
    output:
        files=directory("<results>/lamost_lrs/{sample}/files"),
        catalogue="<results>/lamost_lrs/{sample}/catalogue.parquet",
        truth="<results>/lamost_lrs/{sample}/truth.parquet",
        hosts="<results>/lamost_lrs/{sample}/hosts.csv",
    log:
        "<logs>/simulate_lrs_survey/{sample}.log",
    benchmark:
        "<benchmarks>/simulate_lrs_survey/{sample}.tsv"
    wildcard_constraints:
        sample="survey|calibration_stars",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        population=lrs.population.model_dump(),
        n=lambda wildcards: lrs.survey.n_stars if wildcards.sample == "survey" else lrs.survey.n_calibration,
        ripple=lrs.survey.ripple,
        distance_max=lrs.survey.distance_max,
        seed=lambda wildcards: settings.seed + (101 if wildcards.sample == "survey" else 202),
    script:
        "../../scripts/lamost_lrs/simulate_survey.py"


rule calibrate_lrs:
    """Measure what real stars of each release differ by from the library; the simulated survey has stars of its own."""
    input:
        **LRS_CALIBRATION_STARS,
        library="<lrs_library>/variant0.h5",
        templates=lrs_model("templates.h5"),
        components=lrs_model("components.h5"),
        fitter=lrs_model("pair_fit.h5"),
        code=code("lamost.lrs_calibration"),
    output:
        "<results>/lamost_lrs/calibration.h5",
    log:
        "<logs>/calibrate_lrs.log",
    benchmark:
        "<benchmarks>/calibrate_lrs.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        sources=[(name, source.files, source.catalogue) for name, source in lrs.calibration.items()],
        columns=lrs.columns,
        snrg_min=lrs.snrg_min,
    script:
        "../../scripts/lamost_lrs/calibrate.py"


rule reduce_lrs_shard:
    """Read, check, repair, take to rest and normalise the spectra of one shard; refused ones with their reason."""
    input:
        plan=ancient("<results>/lamost_lrs/ingest/plan.json"),
        manifest=ancient("<results>/lamost_lrs/ingest/manifest.json"),
        files="<results>/lamost_lrs/survey/files" if LRS_SIMULATED else [],
        templates=lrs_model("templates.h5"),
        code=code("lamost.lrs_reduction"),
    output:
        shard="<results>/lamost_lrs/ingest/shard{shard}.h5",
        rejected="<results>/lamost_lrs/ingest/rejected{shard}.parquet",
    log:
        "<logs>/reduce_lrs_shard/shard{shard}.log",
    benchmark:
        "<benchmarks>/reduce_lrs_shard/shard{shard}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=240,
    params:
        width=lrs.smoothing,
        snrg_min=lrs.snrg_min,
    script:
        "../../scripts/lamost_lrs/reduce_shard.py"


rule score_lrs_shard:
    """Score one shard: calibrated, fitted with one and with two stars, classified and flagged."""
    input:
        shard="<results>/lamost_lrs/ingest/shard{shard}.h5",
        networks=lrs_networks(),
        calibration=LRS_CALIBRATION,
        models=lrs_model("range.json"),
        catalogue=LRS_CATALOGUE,
        code=code("evaluation.lrs_scores"),
    output:
        "<results>/lamost_lrs/inference/shard{shard}.parquet",
    log:
        "<logs>/score_lrs_shard/shard{shard}.log",
    benchmark:
        "<benchmarks>/score_lrs_shard/shard{shard}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=120,
    params:
        columns=lrs.columns,
    script:
        "../../scripts/lamost_lrs/score_shard.py"


rule label_lrs_stars:
    """Label the catalogue's stars by the HR diagram: how far above the ridge of the singles (Liu 2019; Fig. 1)."""
    input:
        catalogue=LRS_CATALOGUE,
        truth="<results>/lamost_lrs/survey/truth.parquet" if LRS_SIMULATED else [],
        tracks=f"resources/tracks/{settings.tracks.source}.npz",
        photometry="<lrs_library>/photometry.h5",
        code=code("evaluation.lrs_labels"),
    output:
        labels="<results>/lamost_lrs/labels.parquet",
        facts="<results>/lamost_lrs/tables/labels.json",
    log:
        "<logs>/label_lrs_stars.log",
    benchmark:
        "<benchmarks>/label_lrs_stars.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        columns=lrs.columns,
        training=lrs.training != "mocks",
    script:
        "../../scripts/lamost_lrs/label_stars.py"


rule build_lrs_catalog:
    """All scored shards in one catalogue, a row group a shard; Tables 1 and 2 as printed."""
    input:
        shards=observed("<results>/lamost_lrs/inference/shard{shard}.parquet", "lamost_lrs"),
        labels=[] if lrs.training == "mocks" else LRS_LABELS,
        hosts=LRS_HOSTS,
        code=code("catalogs.lrs_catalog"),
    output:
        **({"hosts": "<results>/lamost_lrs/tables/table2.csv"} if LRS_HOSTS else {}),
        fits="<results>/lamost_lrs/catalogs/lrs.fits",
        parquet="<results>/lamost_lrs/catalogs/lrs.parquet",
        printed="<results>/lamost_lrs/tables/table1.csv",
    log:
        "<logs>/build_lrs_catalog.log",
    benchmark:
        "<benchmarks>/build_lrs_catalog.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt * memory(2000, 300, input.shards),
        runtime=120,
    params:
        threshold=lrs.catalog.threshold,
        training=lrs.training,
        host_columns=lrs.hosts.columns,
    script:
        "../../scripts/lamost_lrs/build_catalog.py"


TARGETS["lamost_lrs"]["catalogs"] = rules.build_lrs_catalog.output

# A star cluster in dithered frames of two filters (Wu et al. 2023, §4): photometry, candidates and what they are worth.


rule simulate_field:
    """A cluster field as HST would deliver it, with known wide pairs, where the settings name no frames."""
    input:
        grids=lambda wildcards: list(CLUSTER.field.psf.files.values()),
        code=code("cluster.field"),
    output:
        frames=[frame_of(exposure) for exposure in EXPOSURES] if FIELD else [],
        psfs=[psf for exposure in EXPOSURES for psf in true_psfs(exposure)],
        truth="<results>/hst/frames/truth.parquet",
        exposures="<results>/hst/frames/truth_exposures.parquet",
    log:
        "<logs>/simulate_field.log",
    benchmark:
        "<benchmarks>/simulate_field.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        field=lambda wildcards: CLUSTER.field.model_dump(),
        centre=lambda wildcards: {
            "ra": CLUSTER.centre[0],
            "dec": CLUSTER.centre[1],
            "distance": CLUSTER.distance,
        },
        seed=lambda wildcards: seed_of("field"),
    script:
        "../../scripts/cluster/simulate_field.py"


rule fit_psf:
    """The PSF of every chip of an exposure: from its stars, or from a file (Fig. 9)."""
    input:
        frame=lambda wildcards: frame_of(wildcards.exposure),
        file=psf_file,
        code=code("cluster.exposure_psf"),
    output:
        "<results>/hst/psf/{exposure}.npz",
    log:
        "<logs>/fit_psf/{exposure}.log",
    benchmark:
        "<benchmarks>/fit_psf/{exposure}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=120,
    params:
        settings=psf_settings,
        maps=lambda wildcards: CLUSTER.pixel_area_maps,
    script:
        "../../scripts/cluster/fit_psf.py"


rule average_psfs:
    """The mean PSF of the exposures that are searched: what networks are trained around."""
    input:
        psfs=expand("<results>/hst/psf/{exposure}.npz", exposure=SEARCHED),
        code=code("cluster.exposure_psf"),
    output:
        "<results>/hst/psf/stars.npz",
    log:
        "<logs>/average_psfs.log",
    benchmark:
        "<benchmarks>/average_psfs.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
    script:
        "../../scripts/cluster/average_psfs.py"


rule measure_photometry:
    """Crowded PSF photometry of an exposure."""
    input:
        frame=lambda wildcards: frame_of(wildcards.exposure),
        psf="<results>/hst/psf/{exposure}.npz",
        code=code("cluster.photometry", "cluster.stages"),
    output:
        "<results>/hst/photometry/{exposure}.parquet",
    log:
        "<logs>/measure_photometry/{exposure}.log",
    benchmark:
        "<benchmarks>/measure_photometry/{exposure}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=120,
    params:
        photometry=lambda wildcards: CLUSTER.photometry.model_dump(),
        maps=lambda wildcards: CLUSTER.pixel_area_maps,
    script:
        "../../scripts/cluster/measure_photometry.py"


rule build_cmd:
    """Stars of all exposures matched, their colours and magnitudes, and the regions of the diagram (Fig. 8)."""
    input:
        tables=expand("<results>/hst/photometry/{exposure}.parquet", exposure=EXPOSURES),
        code=code("cluster.stages"),
    output:
        stars="<results>/hst/catalogs/cmd.parquet",
        detections="<results>/hst/catalogs/detections.parquet",
        alignment="<results>/hst/tables/alignment.csv",
    log:
        "<logs>/build_cmd.log",
    benchmark:
        "<benchmarks>/build_cmd.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        pixel_scale=HST_PIXEL,
        regions=lambda wildcards: CLUSTER.regions.model_dump(exclude_none=True),
    script:
        "../../scripts/cluster/build_cmd.py"


rule score_exposure:
    """Second stars in the stamps of an exposure: networks, Bayes factor, and the pair that fits best."""
    input:
        frame=lambda wildcards: frame_of(wildcards.exposure),
        psf="<results>/hst/psf/{exposure}.npz",
        stars="<results>/hst/catalogs/cmd.parquet",
        detections="<results>/hst/catalogs/detections.parquet",
        models=search_models(),
        true_psfs=lambda wildcards: true_psfs(wildcards.exposure),
        code=code("cluster.stages"),
    output:
        "<results>/hst/scores/{exposure}.parquet",
    log:
        "<logs>/score_exposure/{exposure}.log",
    benchmark:
        "<benchmarks>/score_exposure/{exposure}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=240,
    params:
        law=search_law(),
        fit_above=lambda wildcards: CLUSTER.candidates.fit_above,
    script:
        "../../scripts/cluster/score_exposure.py"


rule inject_stars:
    """Artificial single and double stars in an exposure, measured and scored as the others are."""
    input:
        frame=lambda wildcards: frame_of(wildcards.exposure),
        reference=lambda wildcards: frame_of(SEARCHED[0]),
        psf="<results>/hst/psf/{exposure}.npz",
        models=search_models(),
        code=code("cluster.injection", "cluster.stages"),
    output:
        "<results>/hst/injection/{exposure}.parquet",
    log:
        "<logs>/inject_stars/{exposure}.log",
    benchmark:
        "<benchmarks>/inject_stars/{exposure}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=240,
    params:
        law=search_law(),
        fit_above=lambda wildcards: CLUSTER.candidates.fit_above,
        photometry=lambda wildcards: CLUSTER.photometry.model_dump(),
        plan=lambda wildcards: CLUSTER.injection.model_dump(),
        seed=lambda wildcards: seed_of("injection"),
    script:
        "../../scripts/cluster/inject_stars.py"


rule combine_candidates:
    """All sources, and the candidates among them: those on which the exposures agree."""
    input:
        stars="<results>/hst/catalogs/cmd.parquet",
        scores=expand("<results>/hst/scores/{exposure}.parquet", exposure=SEARCHED),
        code=code("cluster.stages"),
    output:
        sources=multiext("<results>/hst/catalogs/sources", ".parquet", ".fits"),
        candidates=multiext("<results>/hst/catalogs/candidates", ".parquet", ".fits"),
    log:
        "<logs>/combine_candidates.log",
    benchmark:
        "<benchmarks>/combine_candidates.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        thresholds=lambda wildcards: search_thresholds(),
        band=lambda wildcards: CLUSTER.candidates.filter,
        law=search_law(),
        pixel_scale=HST_PIXEL,
        distance_kpc=lambda wildcards: CLUSTER.distance,
        centre=lambda wildcards: CLUSTER.centre,
    script:
        "../../scripts/cluster/combine_candidates.py"


rule assess_candidates:
    """Artificial stars, chance pairs, fractions and places: what the list of candidates is worth (§4.3, §4.4)."""
    input:
        sources="<results>/hst/catalogs/sources.parquet",
        injected=expand("<results>/hst/injection/{exposure}.parquet", exposure=SEARCHED),
        code=code("cluster.stages"),
    output:
        artificial="<results>/hst/tables/artificial.parquet",
        rates="<results>/hst/tables/artificial.csv",
        regions="<results>/hst/tables/regions.csv",
        spatial="<results>/hst/tables/spatial.json",
    log:
        "<logs>/assess_candidates.log",
    benchmark:
        "<benchmarks>/assess_candidates.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        thresholds=lambda wildcards: search_thresholds(),
        regions=lambda wildcards: CLUSTER.regions.model_dump(exclude_none=True),
        law=search_law(),
        pixel_scale=HST_PIXEL,
        core_radius=lambda wildcards: CLUSTER.core_radius,
        seed=lambda wildcards: seed_of("chance"),
    script:
        "../../scripts/cluster/assess_candidates.py"


rule compare_with_truth:
    """Candidates and photometry of the simulated field beside what is truly there."""
    input:
        sources="<results>/hst/catalogs/sources.parquet",
        detections="<results>/hst/catalogs/detections.parquet",
        truth="<results>/hst/frames/truth.parquet",
        exposures="<results>/hst/frames/truth_exposures.parquet",
        code=code("cluster.stages"),
    output:
        known="<results>/hst/tables/known.parquet",
        rates="<results>/hst/tables/truth.csv",
        photometry="<results>/hst/tables/photometry.csv",
        core="<results>/hst/tables/true_core.json",
    log:
        "<logs>/compare_with_truth.log",
    benchmark:
        "<benchmarks>/compare_with_truth.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        band=lambda wildcards: CLUSTER.candidates.filter,
        pixel_scale=HST_PIXEL,
        core_radius=lambda wildcards: CLUSTER.core_radius,
    script:
        "../../scripts/cluster/compare_with_truth.py"


rule check_cluster:
    """The numbers of the cluster line beside the paper's, for the checks of hst."""
    input:
        rates="<results>/hst/tables/artificial.csv",
        regions="<results>/hst/tables/regions.csv",
        spatial="<results>/hst/tables/spatial.json",
        truth="<results>/hst/tables/truth.csv" if FIELD else [],
        photometry="<results>/hst/tables/photometry.csv" if FIELD else [],
        core="<results>/hst/tables/true_core.json" if FIELD else [],
        code=code("evaluation.cluster_checks"),
    output:
        "<results>/hst/tables/cluster_checks.json",
    log:
        "<logs>/check_cluster.log",
    benchmark:
        "<benchmarks>/check_cluster.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    script:
        "../../scripts/cluster/check_cluster.py"


if CLUSTER:
    TARGETS["hst"]["catalogs"] = multiext("<results>/hst/catalogs/candidates", ".parquet", ".fits")

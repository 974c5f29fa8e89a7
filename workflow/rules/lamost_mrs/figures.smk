# Figures with captions for the report, and the checks of our numbers against the paper's.


rule plot_mrs_mocks:
    """A pair as it is trained on (Fig. 2), the very pair of that figure, and the stars of the sample (Fig. 1)."""
    input:
        shard="<results>/lamost_mrs/mocks/test/shard000000.h5",
        shards=mock_shards("train"),
        library="<library>/variant0.h5",
        tracks=f"resources/tracks/{settings.tracks.source}.npz",
        code=code("plots.mrs_mocks", "plots.mrs_sources"),
    output:
        mock_pair=shown("<results>/lamost_mrs/figures/mock_pair.png", "Mocks", "a pair of mocks"),
        papers_pair=shown(
            "<results>/lamost_mrs/figures/papers_pair.png", "Mocks", "the pair of the paper's Fig. 2"
        ),
        hr_diagram=shown("<results>/lamost_mrs/figures/hr_diagram.png", "Mocks", "stars of the mocks"),
    log:
        "<logs>/plot_mrs_mocks.log",
    benchmark:
        "<benchmarks>/plot_mrs_mocks.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        group="lamost_mrs",
        arms=arm_facts("lamost_mrs"),
    script:
        "../../scripts/plot.py"


rule plot_mrs_models:
    """Learning curves, rates against Λ (Fig. 4), recall against labels (Fig. 6), reliability, and the shift by Λ."""
    input:
        histories=models(file="history.csv"),
        descriptions=models(file="model.json"),
        scores=models(file="scores.parquet"),
        rates="<results>/lamost_mrs/tables/rates.csv",
        calibration="<results>/lamost_mrs/tables/calibration.json",
        twins="<results>/lamost_mrs/tables/twins.parquet",
        code=code("plots.mrs_models", "plots.mrs_corner"),
    output:
        corner=shown(
            "<results>/lamost_mrs/figures/corner.png", "Models", "detectability over pairs of labels"
        ),
        learning_curves=shown("<results>/lamost_mrs/figures/learning_curves.png", "Models", "learning curves"),
        rates=shown("<results>/lamost_mrs/figures/rates.png", "Models", "rates against Λ"),
        detectability=shown("<results>/lamost_mrs/figures/detectability.png", "Models", "detectability"),
        reliability=shown("<results>/lamost_mrs/figures/reliability.png", "Models", "reliability"),
        twin_binaries=shown("<results>/lamost_mrs/figures/twin_binaries.png", "Models", "twin binaries"),
        penalty_shift=shown("<results>/lamost_mrs/figures/penalty_shift.png", "Models", "shift of the logit"),
    log:
        "<logs>/plot_mrs_models.log",
    benchmark:
        "<benchmarks>/plot_mrs_models.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        group="lamost_mrs",
        penalty=HEADLINE_PENALTY,
    script:
        "../../scripts/plot.py"


rule plot_mrs_catalog:
    """Probability against S/N (Fig. 7), the best candidates (Fig. 12), and a simulated night against its truth."""
    input:
        catalog="<results>/lamost_mrs/catalogs/mrs.parquet",
        candidates="<results>/lamost_mrs/catalogs/candidates.fits",
        shards=observed("<results>/lamost_mrs/ingest/shard{shard}.h5"),
        templates=TEMPLATES,
        night=NIGHT,
        code=code("plots.mrs_catalog"),
    output:
        **{
            f"probability_{arm}": shown(
                f"<results>/lamost_mrs/figures/probability_{arm}.png",
                "Catalogue",
                "probability against S/N",
                caption="probability",
                arm=arm,
            )
            for arm in mrs.arms
        },
        **(
            {
                "night_recall": shown(
                    "<results>/lamost_mrs/figures/night_recall.png", "Catalogue", "the simulated night"
                )
            }
            if SIMULATED
            else {}
        ),
        candidates=shown("<results>/lamost_mrs/figures/candidates.png", "Catalogue", "candidates"),
    log:
        "<logs>/plot_mrs_catalog.log",
    benchmark:
        "<benchmarks>/plot_mrs_catalog.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt * memory(2000, 300, input.catalog),
        runtime=30,
    params:
        group="lamost_mrs",
        arms=arm_facts("lamost_mrs"),
        penalties=mrs.inference.penalties,
        penalty=HEADLINE_PENALTY,
    script:
        "../../scripts/plot.py"


rule plot_mrs_sources:
    """Stars: neighbours of the Sun (Fig. 10), candidates among all (Fig. 12), eclipses (Figs. 8, 9), counts (11, 13)."""
    input:
        catalog="<results>/lamost_mrs/catalogs/mrs.parquet",
        candidates="<results>/lamost_mrs/catalogs/candidates.fits",
        stars="<results>/lamost_mrs/catalogs/stars.parquet",
        shards=observed("<results>/lamost_mrs/ingest/shard{shard}.h5"),
        templates=TEMPLATES,
        night=NIGHT,
        list=mrs.sb2_list.path or [],
        code=code("plots.mrs_stars", "plots.mrs_phases", "plots.mrs_counts"),
    output:
        neighbours=shown("<results>/lamost_mrs/figures/neighbours.png", "Stars", "neighbours of the Sun"),
        candidate_diagram=shown(
            "<results>/lamost_mrs/figures/candidate_diagram.png", "Stars", "candidates among all stars"
        ),
        probability_vs_phase=shown(
            "<results>/lamost_mrs/figures/probability_vs_phase.png", "Stars", "probability against phase"
        ),
        spectra_vs_phase=shown(
            "<results>/lamost_mrs/figures/spectra_vs_phase.png", "Stars", "spectra against phase"
        ),
        known_binaries=shown(
            "<results>/lamost_mrs/figures/known_binaries.png", "Stars", "known SB2s by period"
        ),
        observations=shown(
            "<results>/lamost_mrs/figures/observations.png", "Stars", "observations per candidate"
        ),
    log:
        "<logs>/plot_mrs_sources.log",
    benchmark:
        "<benchmarks>/plot_mrs_sources.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt * memory(2000, 300, input.catalog),
        runtime=30,
    params:
        group="lamost_mrs",
        arms=arm_facts("lamost_mrs"),
        penalty=HEADLINE_PENALTY,
        bprp0_max=mrs.catalog.bprp0_max,
        binaries=sb2_list,
    script:
        "../../scripts/plot.py"


rule check_spectra:
    """Our numbers with their errors beside the paper's, and whether they keep what we promise."""
    input:
        rates="<results>/lamost_mrs/tables/rates.csv",
        calibration="<results>/lamost_mrs/tables/calibration.json",
        catalog="<results>/lamost_mrs/catalogs/mrs.parquet",
        night=NIGHT,
        code=code("evaluation.mrs_checks"),
    output:
        shown("<results>/lamost_mrs/checks.json", "Checks", "checks", kind="table"),
    log:
        "<logs>/check_spectra.log",
    benchmark:
        "<benchmarks>/check_spectra.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        arms=mrs.arms,
        penalty=HEADLINE_PENALTY,
    script:
        "../../scripts/lamost_mrs/check_spectra.py"


OF_THE_MODELS = [
    rules.plot_mrs_mocks.output,
    rules.plot_mrs_models.output,
    "<results>/lamost_mrs/checks.judged",
]
# Released models have been checked where they were released.
TARGETS["lamost_mrs"]["figures"] = [
    rules.plot_mrs_catalog.output,
    rules.plot_mrs_sources.output,
    [] if mrs.released else OF_THE_MODELS,
]
TARGETS["lamost_mrs"]["all"] = TARGETS["lamost_mrs"]["catalogs"] + TARGETS["lamost_mrs"]["figures"]

# What the models are worth on mocks and on the survey, beside the paper's numbers.


rule evaluate_lrs:
    """Score the test mocks, compare the catalogue with the truth, and write all numbers and checks."""
    input:
        mocks="<results>/lamost_lrs/mocks/test.h5",
        networks=lrs_networks(),
        models="<results>/lamost_lrs/models/range.json",
        catalog="<results>/lamost_lrs/catalogs/lrs.parquet",
        truth="<results>/lamost_lrs/survey/truth.parquet" if LRS_SIMULATED else [],
        code=code("evaluation.lrs_merits"),
    output:
        scores="<results>/lamost_lrs/tables/scores.parquet",
        merits="<results>/lamost_lrs/tables/merits.json",
        checks="<results>/lamost_lrs/checks.json",
    log:
        "<logs>/evaluate_lrs.log",
    benchmark:
        "<benchmarks>/evaluate_lrs.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt * memory(6000, 200, input.catalog),
        runtime=60,
    params:
        seed=settings.seed,
    script:
        "../../scripts/lamost_lrs/evaluate.py"


rule plot_lrs_merits:
    """ROC (Fig. 2), densities and precision (Fig. 3), what is found by mass ratio, and the calibration."""
    input:
        scores="<results>/lamost_lrs/tables/scores.parquet",
        calibration="<results>/lamost_lrs/calibration.h5",
        code=code("plots.lrs"),
    output:
        roc=shown("<results>/lamost_lrs/figures/roc.png", "Models", "ROC", caption="lrs_roc"),
        distributions=shown(
            "<results>/lamost_lrs/figures/distributions.png",
            "Models",
            "densities and precision",
            caption="lrs_distributions",
        ),
        by_ratio=shown(
            "<results>/lamost_lrs/figures/by_ratio.png", "Models", "by mass ratio", caption="lrs_by_ratio"
        ),
        calibration=shown(
            "<results>/lamost_lrs/figures/calibration.png",
            "Catalogue",
            "calibration on real stars",
            caption="lrs_calibration",
        ),
    log:
        "<logs>/plot_lrs_merits.log",
    benchmark:
        "<benchmarks>/plot_lrs_merits.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        group="lamost_lrs",
    script:
        "../../scripts/plot.py"


rule plot_lrs_catalog:
    """Probabilities (Fig. 6), the sky (Fig. 7), eclipsing and variable stars (Figs. 4, 5), HR diagrams (Figs. 1, 9),
    distances (Fig. 8)."""
    input:
        catalog="<results>/lamost_lrs/catalogs/lrs.parquet",
        truth="<results>/lamost_lrs/survey/truth.parquet" if LRS_SIMULATED else [],
        labels=LRS_LABELS,
        code=code("plots.lrs", "plots.lrs_stars"),
    output:
        **(
            {
                "hr_diagram": shown(
                    "<results>/lamost_lrs/figures/hr_diagram.png",
                    "Catalogue",
                    "labels in the HR diagram",
                    caption="lrs_hr_diagram",
                ),
                "distances": shown(
                    "<results>/lamost_lrs/figures/distances.png",
                    "Catalogue",
                    "distances",
                    caption="lrs_distances",
                ),
                "colour_magnitude": shown(
                    "<results>/lamost_lrs/figures/colour_magnitude.png",
                    "Catalogue",
                    "stars in the HR diagram",
                    caption="lrs_colour_magnitude",
                ),
            }
            if LRS_LABELS
            else {}
        ),
        **(
            {
                "eclipsing": shown(
                    "<results>/lamost_lrs/figures/eclipsing.png",
                    "Catalogue",
                    "eclipsing and variable stars",
                    caption="lrs_eclipsing",
                )
            }
            if LRS_SIMULATED
            else {}
        ),
        catalogue=shown(
            "<results>/lamost_lrs/figures/catalogue.png",
            "Catalogue",
            "probabilities and sky",
            caption="lrs_catalogue",
        ),
    log:
        "<logs>/plot_lrs_catalog.log",
    benchmark:
        "<benchmarks>/plot_lrs_catalog.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: attempt * memory(2000, 300, input.catalog),
        runtime=30,
    params:
        group="lamost_lrs",
    script:
        "../../scripts/plot.py"


# Released models have been checked where they were released.
TARGETS["lamost_lrs"]["figures"] = [
    rules.plot_lrs_catalog.output,
    [] if lrs.released else [rules.plot_lrs_merits.output, "<results>/lamost_lrs/checks.judged"],
]
TARGETS["lamost_lrs"]["all"] = [
    TARGETS["lamost_lrs"]["models"],
    TARGETS["lamost_lrs"]["catalogs"],
    TARGETS["lamost_lrs"]["figures"],
]

# Figures of the image surveys with captions for the report.


rule plot_image_mocks:
    """PSF and stamps (Figs. 2 and 9), and chance alignments (Fig. 1)."""
    input:
        psf="<results>/{survey}/psf/nominal.npz",
        chance="<results>/{survey}/tables/chance_alignments.csv",
        code=code("plots.images_stamps"),
    output:
        psf_stamps=shown("<results>/{survey}/figures/psf_stamps.png", "Mocks", "PSF and stamps"),
        chance_alignments=shown(
            "<results>/{survey}/figures/chance_alignments.png", "Mocks", "chance alignments"
        ),
    log:
        "<logs>/plot_image_mocks/{survey}.log",
    benchmark:
        "<benchmarks>/plot_image_mocks/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        group="images",
        noise=lambda wildcards: images_of(wildcards).noise.model_dump(),
        seed=settings.seed,
    script:
        "../../scripts/plot.py"


rule plot_networks:
    """The layers of the networks (Fig. 3), once: both surveys have the same."""
    input:
        code=code("plots.images_networks"),
    output:
        networks=shown(
            "<results>/{survey}/figures/networks.png", "Models", "networks", caption="image_networks"
        ),
    log:
        "<logs>/plot_networks/{survey}.log",
    benchmark:
        "<benchmarks>/plot_networks/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        group="images",
        networks=lambda wildcards: {
            name: network.model_dump(exclude_none=True)
            for name, network in images_of(wildcards).networks.items()
            if name in images_of(wildcards).train_networks or network.training.recipe == "ours"
        },
    script:
        "../../scripts/plot.py"


rule plot_image_models:
    """Learning curves, ROC and confusion matrix (Figs. 4 and 10), reliability, and what a network looks at (Fig. 5)."""
    input:
        histories=lambda wildcards: image_models(wildcards.survey, "history.csv"),
        descriptions=lambda wildcards: image_models(wildcards.survey, "model.json"),
        test_scores=lambda wildcards: image_scores(wildcards.survey, "test"),
        test_optima=lambda wildcards: image_optima(wildcards.survey, "test"),
        calibrations=lambda wildcards: calibrations(wildcards.survey),
        model=lambda wildcards: image_models(wildcards.survey, cases=[images_of(wildcards).headline])[0],
        psf="<results>/{survey}/psf/nominal.npz",
        code=code("plots.images_models", "plots.images_stamps"),
    output:
        learning_curves=shown(
            "<results>/{survey}/figures/learning_curves.png",
            "Models",
            "learning curves",
            caption="image_learning",
        ),
        roc=shown("<results>/{survey}/figures/roc.png", "Models", "ROC and confusion matrix"),
        image_reliability=shown(
            "<results>/{survey}/figures/image_reliability.png", "Models", "reliability of probabilities"
        ),
        occlusion=shown("<results>/{survey}/figures/occlusion.png", "Models", "occlusion map"),
    log:
        "<logs>/plot_image_models/{survey}.log",
    benchmark:
        "<benchmarks>/plot_image_models/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        group="images",
        noise=lambda wildcards: images_of(wildcards).noise.model_dump(),
        seed=settings.seed,
    script:
        "../../scripts/plot.py"


for survey in IMAGES:

    rule:
        """Accuracy along the test grid (Figs. 6 and 7), recall of unequal pairs, errors of the PSF: where there are any."""
        name:
            f"plot_{survey}_merits"
        input:
            merits="<results>/{survey}/tables/merits.csv",
            recall=(
                "<results>/{survey}/tables/recall_map.csv" if "recall_map" in merits_figures(survey) else []
            ),
            code=code("plots.images_models"),
        output:
            **{
                name: shown(f"<results>/{{survey}}/figures/{name}.png", "Models", *words)
                for name, words in merits_figures(survey).items()
            },
        log:
            "<logs>/plot_image_merits/{survey}.log",
        benchmark:
            "<benchmarks>/plot_image_merits/{survey}.tsv"
        wildcard_constraints:
            survey=survey,
        conda:
            "../../../envs/environment.yaml"
        threads: 1
        resources:
            mem_mb=4000,
            runtime=30,
        params:
            group="images",
        script:
            "../../scripts/plot.py"


for survey in IMAGES:
    # Released networks have been checked where they were released.
    TARGETS[survey]["figures"] = (
        []
        if IMAGES[survey].released
        else [
            expand([*rules.plot_image_mocks.output, *rules.plot_image_models.output], survey=survey),
            expand(rules.plot_networks.output, survey=[survey] if survey == "csst" else []),
            expand("<results>/{survey}/figures/{name}.png", survey=survey, name=merits_figures(survey)),
            f"<results>/{survey}/checks.judged",
        ]
    )
    TARGETS[survey]["all"] = TARGETS[survey]["catalogs"] + TARGETS[survey]["figures"]

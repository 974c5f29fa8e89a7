# Figures of the image surveys with captions for the report.


rule plot_psf_stamps:
    """The PSF, stamps of a single star and of pairs, and what a star's fit leaves of them (Figs. 2 and 9)."""
    input:
        psf="<results>/{survey}/psf/nominal.npz",
        code=code("plots.images_stamps"),
    output:
        report(
            "<results>/{survey}/figures/psf_stamps.png",
            caption="../../report/psf_stamps.rst",
            category=lambda wildcards: wildcards.survey.upper(),
            subcategory="Mocks",
            labels={"figure": "PSF and stamps"},
        ),
    log:
        "<logs>/plot_psf_stamps/{survey}.log",
    benchmark:
        "<benchmarks>/plot_psf_stamps/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        noise=lambda wildcards: images_of(wildcards).noise.model_dump(),
        seed=settings.seed,
    script:
        "../../scripts/images/plot_psf_stamps.py"


rule plot_image_networks:
    """The layers of the networks (Fig. 3)."""
    input:
        code=code("plots.images_networks"),
    output:
        report(
            "<results>/{survey}/figures/networks.png",
            caption="../../report/image_networks.rst",
            category=lambda wildcards: wildcards.survey.upper(),
            subcategory="Models",
            labels={"figure": "networks"},
        ),
    log:
        "<logs>/plot_image_networks/{survey}.log",
    benchmark:
        "<benchmarks>/plot_image_networks/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        networks=lambda wildcards: {
            name: network.model_dump(exclude_none=True)
            for name, network in images_of(wildcards).networks.items()
        },
    script:
        "../../scripts/images/plot_image_networks.py"


rule plot_image_learning:
    """Training and validation loss of every network."""
    input:
        histories=lambda wildcards: image_models(wildcards.survey, "history.csv"),
        descriptions=lambda wildcards: image_models(wildcards.survey, "model.json"),
        code=code("plots.images_models"),
    output:
        report(
            "<results>/{survey}/figures/learning_curves.png",
            caption="../../report/image_learning.rst",
            category=lambda wildcards: wildcards.survey.upper(),
            subcategory="Models",
            labels={"figure": "learning curves"},
        ),
    log:
        "<logs>/plot_image_learning/{survey}.log",
    benchmark:
        "<benchmarks>/plot_image_learning/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../../scripts/images/plot_image_learning.py"


rule plot_image_accuracy:
    """Accuracy along the S/N or the separation (Figs. 6 and 7)."""
    input:
        merits="<results>/{survey}/tables/merits.csv",
        code=code("plots.images_models"),
    output:
        report(
            "<results>/{survey}/figures/accuracy_{axis}.png",
            caption="../../report/image_accuracy.rst",
            category=lambda wildcards: wildcards.survey.upper(),
            subcategory="Models",
            labels={"figure": "accuracy", "axis": "{axis}"},
        ),
    log:
        "<logs>/plot_image_accuracy/{survey}/{axis}.log",
    benchmark:
        "<benchmarks>/plot_image_accuracy/{survey}/{axis}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../../scripts/images/plot_image_accuracy.py"


rule plot_roc:
    """ROC and confusion matrix on the test stamps (Figs. 4 and 10)."""
    input:
        scores=lambda wildcards: image_scores(wildcards.survey, "test"),
        optima=lambda wildcards: image_optima(wildcards.survey, "test"),
        code=code("plots.images_models"),
    output:
        report(
            "<results>/{survey}/figures/roc.png",
            caption="../../report/roc.rst",
            category=lambda wildcards: wildcards.survey.upper(),
            subcategory="Models",
            labels={"figure": "ROC and confusion matrix"},
        ),
    log:
        "<logs>/plot_roc/{survey}.log",
    benchmark:
        "<benchmarks>/plot_roc/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../../scripts/images/plot_roc.py"


rule plot_recall_map:
    """Pairs found over separation and flux ratio."""
    input:
        recall="<results>/{survey}/tables/recall_map.csv",
        code=code("plots.images_models"),
    output:
        report(
            "<results>/{survey}/figures/recall_map.png",
            caption="../../report/recall_map.rst",
            category=lambda wildcards: wildcards.survey.upper(),
            subcategory="Models",
            labels={"figure": "separation and flux ratio"},
        ),
    log:
        "<logs>/plot_recall_map/{survey}.log",
    benchmark:
        "<benchmarks>/plot_recall_map/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../../scripts/images/plot_recall_map.py"


rule plot_psf_mismatch:
    """False positives and accuracy where the PSF is not the one assumed."""
    input:
        merits="<results>/{survey}/tables/merits.csv",
        code=code("plots.images_models"),
    output:
        report(
            "<results>/{survey}/figures/psf_mismatch.png",
            caption="../../report/psf_mismatch.rst",
            category=lambda wildcards: wildcards.survey.upper(),
            subcategory="Models",
            labels={"figure": "errors of the PSF"},
        ),
    log:
        "<logs>/plot_psf_mismatch/{survey}.log",
    benchmark:
        "<benchmarks>/plot_psf_mismatch/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../../scripts/images/plot_psf_mismatch.py"


rule plot_occlusion:
    """Which pixels the network goes by (Fig. 5)."""
    input:
        psf="<results>/{survey}/psf/nominal.npz",
        model=lambda wildcards: image_models(wildcards.survey, cases=[images_of(wildcards).headline])[0],
        code=code("plots.images_stamps"),
    output:
        report(
            "<results>/{survey}/figures/occlusion.png",
            caption="../../report/occlusion.rst",
            category=lambda wildcards: wildcards.survey.upper(),
            subcategory="Models",
            labels={"figure": "occlusion map"},
        ),
    log:
        "<logs>/plot_occlusion/{survey}.log",
    benchmark:
        "<benchmarks>/plot_occlusion/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        noise=lambda wildcards: images_of(wildcards).noise.model_dump(),
        seed=settings.seed,
    script:
        "../../scripts/images/plot_occlusion.py"


rule plot_chance_alignments:
    """Share of chance alignments against the density of stars (Fig. 1)."""
    input:
        chance="<results>/{survey}/tables/chance_alignments.csv",
        code=code("plots.images_stamps"),
    output:
        report(
            "<results>/{survey}/figures/chance_alignments.png",
            caption="../../report/chance_alignments.rst",
            category=lambda wildcards: wildcards.survey.upper(),
            subcategory="Mocks",
            labels={"figure": "chance alignments"},
        ),
    log:
        "<logs>/plot_chance_alignments/{survey}.log",
    benchmark:
        "<benchmarks>/plot_chance_alignments/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../../scripts/images/plot_chance_alignments.py"


for survey in IMAGES:
    TARGETS[survey]["figures"] = [
        *expand("<results>/{survey}/figures/{name}.png", survey=survey, name=image_figures(survey)),
        f"<results>/{survey}/checks.judged",
    ]
    TARGETS[survey]["all"] = TARGETS[survey]["catalogs"] + TARGETS[survey]["figures"]

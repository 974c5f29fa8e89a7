# Unresolved pairs in the shape of the PSF (Wu et al. 2023): PSFs, stamps, networks and the optimum, for CSST and HST.


rule make_psf_bank:
    """The PSF of the telescope, of a file or of the stars, and others around it to train on."""
    input:
        file=lambda wildcards: images_of(wildcards).psf.file or [],
        fitted=fitted_psf,
        code=code("psf.sources"),
    output:
        "<results>/{survey}/psf/{bank}.npz",
    log:
        "<logs>/make_psf_bank/{survey}/{bank}.log",
    benchmark:
        "<benchmarks>/make_psf_bank/{survey}/{bank}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        source=lambda wildcards: images_of(wildcards).psf.model_dump(),
        bank=lambda wildcards: images_of(wildcards).banks[wildcards.bank].model_dump(),
        seed=lambda wildcards: seed_of("psf", wildcards.bank),
    script:
        "../../scripts/images/make_psf_bank.py"


rule make_psf_mismatch:
    """PSFs that differ by a known amount from the one that networks and fits assume."""
    input:
        file=lambda wildcards: images_of(wildcards).psf.file or [],
        fitted=fitted_psf,
        code=code("psf.sources"),
    output:
        "<results>/{survey}/psf/{axis}{value}.npz",
    log:
        "<logs>/make_psf_mismatch/{survey}/{axis}{value}.log",
    benchmark:
        "<benchmarks>/make_psf_mismatch/{survey}/{axis}{value}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        source=lambda wildcards: images_of(wildcards).psf.model_dump(),
        value=lambda wildcards: parse_number(wildcards.value),
        seed=lambda wildcards: seed_of("psf", wildcards.axis, wildcards.value),
    script:
        "../../scripts/images/make_psf_mismatch.py"


rule make_stamps:
    """Stamps of single stars and of pairs: a fixed training set, the validation set or the test set of a case."""
    input:
        psf=bank_of,
        code=code("stamps.mocks"),
    output:
        "<results>/{survey}/mocks/{case}/{split}.h5",
    log:
        "<logs>/make_stamps/{survey}/{case}/{split}.log",
    benchmark:
        "<benchmarks>/make_stamps/{survey}/{case}/{split}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=30,
    params:
        law=law_of,
        noise=lambda wildcards: images_of(wildcards).noise.model_dump(),
        n=lambda wildcards: getattr(images_of(wildcards).mocks, f"n_{wildcards.split}"),
        seed=lambda wildcards: seed_of("stamps", wildcards.split),
        fixed={},
    script:
        "../../scripts/images/make_stamps.py"


rule make_cell:
    """Stamps of one cell of a test grid: one S/N or one separation, or another PSF than the one assumed."""
    input:
        psf=lambda wildcards: cell_psf(wildcards.survey, f"{wildcards.axis}{wildcards.value}"),
        code=code("stamps.mocks"),
    output:
        "<results>/{survey}/mocks/{case}/grid/{axis}{value}.h5",
    log:
        "<logs>/make_cell/{survey}/{case}/{axis}{value}.log",
    benchmark:
        "<benchmarks>/make_cell/{survey}/{case}/{axis}{value}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        law=law_of,
        noise=lambda wildcards: images_of(wildcards).noise.model_dump(),
        n=lambda wildcards: images_of(wildcards).grids[wildcards.axis].n,
        seed=lambda wildcards: seed_of("cell", wildcards.axis, wildcards.value),
        fixed=what_a_cell_fixes,
    script:
        "../../scripts/images/make_stamps.py"


rule score_optimum:
    """The likelihood of two stars against one in every stamp of a sample: the bound that no network passes."""
    input:
        stamps=lambda wildcards: cell_stamps(wildcards.survey, wildcards.case, wildcards.cell),
        psf=lambda wildcards: cell_psf(wildcards.survey, wildcards.cell),
        assumed="<results>/{survey}/psf/nominal.npz",
        bank=bank_unless_known,
        code=code("stamps.bounds", "evaluation.image_merits"),
    output:
        "<results>/{survey}/mocks/{case}/optimum/{cell}.parquet",
    log:
        "<logs>/score_optimum/{survey}/{case}/{cell}.log",
    benchmark:
        "<benchmarks>/score_optimum/{survey}/{case}/{cell}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        law=law_of,
        noise=lambda wildcards: images_of(wildcards).noise.model_dump(),
        cell=lambda wildcards: parted(wildcards.cell),
        n_unknown=lambda wildcards: images_of(wildcards).mocks.n_unknown_psf,
    script:
        "../../scripts/images/score_optimum.py"


rule train_images:
    """Train one network on the stamps of a case; a job that was stopped goes on from its last epoch."""
    input:
        psf=lambda wildcards: bank_of(wildcards, "train"),
        assumed="<results>/{survey}/psf/nominal.npz",
        train=lambda wildcards: (
            []
            if images_of(wildcards).mocks.fresh
            else f"<results>/{wildcards.survey}/mocks/{wildcards.case}/train.h5"
        ),
        validation="<results>/{survey}/mocks/{case}/validation.h5",
        weights=weights_of,
        code=code("stamps.training"),
    output:
        model="<results>/{survey}/{case}/{network}/seed{seed}/model.ckpt",
        history="<results>/{survey}/{case}/{network}/seed{seed}/history.csv",
        description="<results>/{survey}/{case}/{network}/seed{seed}/model.json",
    log:
        "<logs>/train_images/{survey}/{case}/{network}/seed{seed}.log",
    benchmark:
        "<benchmarks>/train_images/{survey}/{case}/{network}/seed{seed}.tsv"
    wildcard_constraints:
        network=IMAGE_NETWORKS,
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=1440,
        gpu=1,
    params:
        network=lambda wildcards: images_of(wildcards)
        .networks[wildcards.network]
        .model_dump(exclude_none=True),
        law=law_of,
        noise=lambda wildcards: images_of(wildcards).noise.model_dump(),
        n_train=lambda wildcards: images_of(wildcards).mocks.n_train,
        stamps_seed=lambda wildcards: seed_of("stamps", "train", wildcards.seed),
        max_epochs=lambda wildcards: images_of(wildcards).max_epochs,
    script:
        "../../scripts/images/train_images.py"


rule score_images:
    """Score the test stamps, or all cells along one axis of the test grid, with one network."""
    input:
        model="<results>/{survey}/{case}/{network}/seed{seed}/model.ckpt",
        description="<results>/{survey}/{case}/{network}/seed{seed}/model.json",
        stamps=sample_stamps,
        psf="<results>/{survey}/psf/nominal.npz",
        code=code("stamps.scoring", "evaluation.image_merits"),
    output:
        "<results>/{survey}/{case}/{network}/seed{seed}/scores/{sample}.parquet",
    log:
        "<logs>/score_images/{survey}/{case}/{network}/seed{seed}/{sample}.log",
    benchmark:
        "<benchmarks>/score_images/{survey}/{case}/{network}/seed{seed}/{sample}.tsv"
    wildcard_constraints:
        network=IMAGE_NETWORKS,
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=240,
        gpu=1,
    params:
        tta=lambda wildcards: images_of(wildcards).networks[wildcards.network].tta,
        cell_values=sample_values,
    script:
        "../../scripts/images/score_images.py"


rule summarise_images:
    """Accuracy, AUC and rates of every network on every sample, beside paper, likelihood-ratio test and optimum."""
    input:
        scores=lambda wildcards: image_scores(wildcards.survey),
        optima=lambda wildcards: image_optima(wildcards.survey),
        code=code("evaluation.image_merits"),
    output:
        "<results>/{survey}/tables/merits.csv",
    log:
        "<logs>/summarise_images/{survey}.log",
    benchmark:
        "<benchmarks>/summarise_images/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../../scripts/images/summarise_images.py"


rule summarise_recall:
    """Share of the test pairs that every network and the optimum find, over separation and flux ratio."""
    input:
        scores=lambda wildcards: image_scores(wildcards.survey, "test"),
        optima=lambda wildcards: image_optima(wildcards.survey, "test"),
        code=code("evaluation.image_merits"),
    output:
        "<results>/{survey}/tables/recall_map.csv",
    log:
        "<logs>/summarise_recall/{survey}.log",
    benchmark:
        "<benchmarks>/summarise_recall/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../../scripts/images/summarise_recall.py"


rule simulate_chance_alignments:
    """How often two stars that have nothing to do with each other look like one, against their density (Fig. 1)."""
    input:
        code=code("cluster.chance_alignments"),
    output:
        "<results>/{survey}/tables/chance_alignments.csv",
    log:
        "<logs>/simulate_chance_alignments/{survey}.log",
    benchmark:
        "<benchmarks>/simulate_chance_alignments/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        alignment=lambda wildcards: images_of(wildcards).alignment.model_dump(),
        seed=settings.seed,
    script:
        "../../scripts/images/simulate_chance_alignments.py"


rule check_images:
    """Our numbers with their errors beside the paper's, and whether they keep what we promise."""
    input:
        merits="<results>/{survey}/tables/merits.csv",
        chance="<results>/{survey}/tables/chance_alignments.csv",
        calibrations=lambda wildcards: calibrations(wildcards.survey),
        others=further_checks,
        code=code("evaluation.image_checks"),
    output:
        shown("<results>/{survey}/checks.json", "Checks", "checks", kind="table"),
    log:
        "<logs>/check_images/{survey}.log",
    benchmark:
        "<benchmarks>/check_images/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        cases=lambda wildcards: {name: case.model_dump() for name, case in images_of(wildcards).cases.items()},
    script:
        "../../scripts/images/check_images.py"


for survey in IMAGES:
    TARGETS[survey]["mocks"] = image_mocks(survey)
    TARGETS[survey]["models"] = [*image_models(survey), f"<results>/{survey}/tables/merits.csv"]
    TARGETS[survey]["catalogs"] = []

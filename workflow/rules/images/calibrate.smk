# What the answers of networks mean: probabilities, where half of all sources are two stars.


rule calibrate_images:
    """Make probabilities of what the networks of a case answer: fitted to fresh stamps, tested on others."""
    input:
        models=lambda wildcards: expand(
            "<results>/{survey}/{case}/{network}/seed{seed}/model.ckpt",
            survey=wildcards.survey,
            case=wildcards.case,
            network=wildcards.network,
            seed=images_of(wildcards).seeds,
        ),
        bank=lambda wildcards: bank_of(wildcards, "train"),
        assumed="<results>/{survey}/psf/nominal.npz",
        code=code("stamps.calibrate"),
    output:
        "<results>/{survey}/{case}/{network}/calibration.json",
    log:
        "<logs>/calibrate_images/{survey}/{case}/{network}.log",
    benchmark:
        "<benchmarks>/calibrate_images/{survey}/{case}/{network}.tsv"
    wildcard_constraints:
        network=IMAGE_NETWORKS,
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=1,
    params:
        law=law_of,
        noise=lambda wildcards: images_of(wildcards).noise.model_dump(),
        n=lambda wildcards: images_of(wildcards).mocks.n_validation,
        seed=lambda wildcards: seed_of("calibration", wildcards.case),
        tta=lambda wildcards: images_of(wildcards).networks[wildcards.network].tta,
    script:
        "../../scripts/images/calibrate_images.py"

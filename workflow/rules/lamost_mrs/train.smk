# One model per arm, Λ and seed.


rule train_spectra:
    """Train one network; a job that was stopped goes on from its last epoch (folder resume/)."""
    input:
        train=learnt_shards("train"),
        validation=learnt_shards("validation"),
        start=begun,
        code=code("learn.spectra.training"),
    output:
        model="<results>/lamost_mrs/{arm}/{network}/lambda{lam}/seed{seed}/model.ckpt",
        history="<results>/lamost_mrs/{arm}/{network}/lambda{lam}/seed{seed}/history.csv",
        description="<results>/lamost_mrs/{arm}/{network}/lambda{lam}/seed{seed}/model.json",
    log:
        "<logs>/train_spectra/{arm}/{network}/lambda{lam}/seed{seed}.log",
    benchmark:
        "<benchmarks>/train_spectra/{arm}/{network}/lambda{lam}/seed{seed}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, input, attempt: (2000 + input.size_mb) * attempt,
        runtime=480,
        gpu=1,
    params:
        network=lambda wildcards: mrs.networks[wildcards.network].model_dump(),
        penalty=lambda wildcards: parse_number(wildcards.lam),
        training=mrs.training.model_dump(exclude={"start"}),
        grid=lambda wildcards: arm_facts("lamost_mrs")[wildcards.arm],
    script:
        "../../scripts/lamost_mrs/train_spectra.py"

# One model per arm, Λ and seed; one job for each, or one for all Λ of an arm and seed.


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
        penalties=lambda wildcards: [parse_number(wildcards.lam)],
        training=mrs.training.model_dump(exclude={"start", "together"}),
        grid=lambda wildcards: arm_facts("lamost_mrs")[wildcards.arm],
    script:
        "../../scripts/lamost_mrs/train_spectra.py"


if mrs.training.together:

    use rule train_spectra as train_penalties with:
        output:
            model=of_each_penalty("model.ckpt"),
            history=of_each_penalty("history.csv"),
            description=of_each_penalty("model.json"),
        log:
            "<logs>/train_spectra/{arm}/{network}/seed{seed}.log",
        benchmark:
            "<benchmarks>/train_spectra/{arm}/{network}/seed{seed}.tsv"
        params:
            network=lambda wildcards: mrs.networks[wildcards.network].model_dump(),
            penalties=mrs.penalties,
            training=mrs.training.model_dump(exclude={"start", "together"}),
            grid=lambda wildcards: arm_facts("lamost_mrs")[wildcards.arm],

    ruleorder: train_penalties > train_spectra

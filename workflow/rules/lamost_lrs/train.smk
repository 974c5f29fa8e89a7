# Components, fits of one and two stars, and networks.


rule make_lrs_models:
    """Components and polynomial fits of the training mocks, and the range in which they hold."""
    input:
        mocks="<results>/lamost_lrs/mocks/train.h5",
        code=code("evaluation.lrs_models"),
    output:
        components="<results>/lamost_lrs/models/components.h5",
        fitter="<results>/lamost_lrs/models/pair_fit.h5",
        range="<results>/lamost_lrs/models/range.json",
    log:
        "<logs>/make_lrs_models.log",
    benchmark:
        "<benchmarks>/make_lrs_models.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=60,
    params:
        width=lrs.smoothing,
        window=lrs.window,
    script:
        "../../scripts/lamost_lrs/make_models.py"


rule train_lrs_network:
    """Train a dense network on components, or the paper's on pixels: one seed."""
    input:
        mocks="<results>/lamost_lrs/mocks/train.h5",
        components="<results>/lamost_lrs/models/components.h5",
        shards=(
            []
            if lrs.training == "mocks"
            else observed("<results>/lamost_lrs/ingest/shard{shard}.h5", "lamost_lrs")
        ),
        labels=[] if lrs.training == "mocks" else LRS_LABELS,
        code=code("evaluation.lrs_training"),
    output:
        "<results>/lamost_lrs/{network}/seed{seed}/model.safetensors",
    log:
        "<logs>/train_lrs_network/{network}-seed{seed}.log",
    benchmark:
        "<benchmarks>/train_lrs_network/{network}-seed{seed}.tsv"
    wildcard_constraints:
        network="dense|cnn",
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards: 60 if wildcards.network == "dense" else 480,
    params:
        epochs=lrs.epochs,
        training=lrs.training,
    script:
        "../../scripts/lamost_lrs/train_network.py"


rule make_lrs_templates:
    """Velocity templates of the mocks' own library."""
    input:
        library="<lrs_library>/variant0.h5",
        code=code("lamost.lrs_reduction"),
    output:
        "<results>/lamost_lrs/models/templates.h5",
    log:
        "<logs>/make_lrs_templates.log",
    benchmark:
        "<benchmarks>/make_lrs_templates.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        width=lrs.smoothing,
    script:
        "../../scripts/lamost_lrs/make_templates.py"


TARGETS["lamost_lrs"]["models"] = (
    lrs_networks()
    if lrs.released
    else [lrs_networks(), rules.make_lrs_models.output, rules.make_lrs_templates.output]
)

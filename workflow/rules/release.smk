# The models that `dioscuri predict` uses, packed from trained ones (config/release.yaml; `make release`).


rule pack_release:
    """Pack all seeds of an arm into one small file, and the velocity templates of their library beside them."""
    input:
        models=models(penalties=[HEADLINE_PENALTY]),
        library="<library>/variant0.h5",
        code=code("release"),
    output:
        models=expand("models/lamost_mrs/{arm}.safetensors", arm=mrs.arms),
        templates="models/lamost_mrs/templates.h5",
    log:
        "<logs>/pack_release.log",
    benchmark:
        "<benchmarks>/pack_release.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
    params:
        arms=arm_facts("lamost_mrs"),
    script:
        "../scripts/pack_release.py"

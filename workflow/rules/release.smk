# Models in the form that `dioscuri predict` reads.


rule pack_models:
    """Pack the models of the released penalties, and the velocity templates that belong to them, for models/."""
    input:
        models=models(penalties=mrs.inference.penalties),
        library="<library>/variant0.h5",
        code=code("release"),
    output:
        expand("<results>/lamost_mrs/release/{arm}.safetensors", arm=mrs.arms),
        "<results>/lamost_mrs/release/templates.h5",
    log:
        "<logs>/pack_models.log",
    benchmark:
        "<benchmarks>/pack_models.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
    params:
        arms={name: facts for name, facts in arm_facts("lamost_mrs").items() if name in mrs.arms},
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/pack_models.py"


TARGETS["lamost_mrs"]["release"] = rules.pack_models.output

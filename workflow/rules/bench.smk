# Ours and the published way side by side, each piece in a process of its own.

NOT_HERE = {"gpu", "recipes", "survey_scale"}  # a GPU, half an hour
PIECES = sorted({path.stem for path in Path("benchmarks").glob("*.py")} - NOT_HERE)


rule run_benchmark:
    """Time one piece on this machine."""
    input:
        "benchmarks/{piece}.py",
    output:
        "<results>/bench/{piece}.json",
    log:
        "<logs>/run_benchmark/{piece}.log",
    benchmark:
        "<benchmarks>/run_benchmark/{piece}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        python=sys.executable,
    shell:
        "{params.python} {input} > {output} 2> {log}"


rule collect_benchmarks:
    """One table of all pieces."""
    input:
        expand("<results>/bench/{piece}.json", piece=PIECES),
    output:
        "<results>/bench/benchmarks.csv",
    log:
        "<logs>/collect_benchmarks.log",
    benchmark:
        "<benchmarks>/collect_benchmarks.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    script:
        "../scripts/collect_benchmarks.py"

# Ours and the published way side by side, each piece in a process of its own.

NOT_HERE = {"gpu", "recipes", "survey_scale", "summary"}  # a GPU, half an hour; no piece
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
    """One table of all pieces, each with the limit of this machine and the share reached, and their plot."""
    input:
        rows=expand("<results>/bench/{piece}.json", piece=PIECES),
        code="benchmarks/summary.py",
    output:
        table="<results>/bench/benchmarks.csv",
        plot="<results>/bench/speed.png",
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
    params:
        python=sys.executable,
    shell:
        "{params.python} {input.code} {input.rows} --table {output.table} --plot {output.plot} 2> {log}"

# What becomes of checks that failed.


rule judge_checks:
    """Fail the run where a check failed and checks.strict is true; otherwise say so in the log."""
    input:
        checks="<results>/{survey}/checks.json",
    output:
        touch("<results>/{survey}/checks.judged"),
    log:
        "<logs>/judge_checks/{survey}.log",
    benchmark:
        "<benchmarks>/judge_checks/{survey}.tsv"
    wildcard_constraints:
        survey="|".join(TARGETS),
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        strict=settings.checks.strict,
    script:
        "../scripts/judge_checks.py"

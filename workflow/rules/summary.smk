# The page that a report opens with.


rule summarise_run:
    """What every survey found, which checks failed and why, and minutes: the first page of the report."""
    input:
        # Not judged yet: a run that fails its checks has its page, too.
        [path.replace("checks.judged", "checks.json") for path in flat(surveys_of("all"))],
        code=code("evaluation.summary"),
    output:
        report(
            "<results>/summary.html",
            caption="../report/summary.rst",
            category="0 Summary",
            labels={"page": "what was found"},
        ),
    log:
        "<logs>/summarise_run.log",
    benchmark:
        "<benchmarks>/summarise_run.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        results=subpath(output[0], parent=True),
        rules=f"{ROOT}/workflow/rules",
    script:
        "../scripts/summarise_run.py"

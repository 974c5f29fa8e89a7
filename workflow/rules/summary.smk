# The page that a report opens with.


def flat(files):
    """The names in lists of lists."""
    return [files] if isinstance(files, str) else [name for part in files for name in flat(part)]


def scored_by_released(survey):
    """Whether released models score a survey's observations, so that there is no training to check."""
    return getattr(getattr(settings, survey), "released", False)


rule summarise_run:
    """What every survey found, which checks failed and why, and minutes: the first page of the report."""
    input:
        # Judging comes after: a run that fails its checks has its page, too.
        [path for path in flat(surveys_of("all")) if not path.endswith(".judged")],
        [f"<results>/{survey}/checks.json" for survey in settings.surveys if not scored_by_released(survey)],
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
        results=f"results/{settings.preset}",
        rules=f"{ROOT}/workflow/rules",
    script:
        "../scripts/summarise_run.py"

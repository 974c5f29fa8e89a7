# Figures with captions for the report, and the checks of our numbers against the paper's.


rule plot_mock_pair:
    """A binary and its own primary, noise-free and as trained on (Fig. 2)."""
    input:
        shard="<results>/lamost_mrs/mocks/test/shard0000.h5",
        library="<library>/variant0.h5",
        code=code("plots.mrs_mocks"),
    output:
        report(
            "<results>/lamost_mrs/figures/mock_pair.png",
            caption="../../report/mock_pair.rst",
            category="LAMOST MRS",
            subcategory="Mocks",
            labels={"figure": "a pair of mocks"},
        ),
    log:
        "<logs>/plot_mock_pair.log",
    benchmark:
        "<benchmarks>/plot_mock_pair.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        arms=arm_facts("lamost_mrs"),
    script:
        "../../scripts/lamost_mrs/plot_mock_pair.py"


rule plot_papers_pair:
    """The very pair of the paper's Fig. 2, synthesized without noise."""
    input:
        tracks=f"resources/tracks/{settings.tracks.source}.npz",
        code=code("plots.mrs_sources"),
    output:
        report(
            "<results>/lamost_mrs/figures/papers_pair.png",
            caption="../../report/papers_pair.rst",
            category="LAMOST MRS",
            subcategory="Mocks",
            labels={"figure": "the pair of the paper's Fig. 2"},
        ),
    log:
        "<logs>/plot_papers_pair.log",
    benchmark:
        "<benchmarks>/plot_papers_pair.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        arms=arm_facts("lamost_mrs"),
    script:
        "../../scripts/lamost_mrs/plot_papers_pair.py"


rule plot_hr_diagram:
    """Primaries and secondaries of the training sample (Fig. 1)."""
    input:
        shards=mock_shards("train"),
        tracks=f"resources/tracks/{settings.tracks.source}.npz",
        code=code("plots.mrs_mocks"),
    output:
        report(
            "<results>/lamost_mrs/figures/hr_diagram.png",
            caption="../../report/hr_diagram.rst",
            category="LAMOST MRS",
            subcategory="Mocks",
            labels={"figure": "stars of the mocks"},
        ),
    log:
        "<logs>/plot_hr_diagram.log",
    benchmark:
        "<benchmarks>/plot_hr_diagram.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../../scripts/lamost_mrs/plot_hr_diagram.py"


rule plot_learning_curves:
    """Training and validation loss of every model."""
    input:
        histories=models(file="history.csv"),
        descriptions=models(file="model.json"),
        code=code("plots.mrs_models"),
    output:
        report(
            "<results>/lamost_mrs/figures/learning_curves.png",
            caption="../../report/learning_curves.rst",
            category="LAMOST MRS",
            subcategory="Models",
            labels={"figure": "learning curves"},
        ),
    log:
        "<logs>/plot_learning_curves.log",
    benchmark:
        "<benchmarks>/plot_learning_curves.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../../scripts/lamost_mrs/plot_learning_curves.py"


rule plot_rates:
    """True and false positive rates against Λ (Fig. 4)."""
    input:
        rates="<results>/lamost_mrs/tables/rates.csv",
        code=code("plots.mrs_models"),
    output:
        report(
            "<results>/lamost_mrs/figures/rates.png",
            caption="../../report/rates.rst",
            category="LAMOST MRS",
            subcategory="Models",
            labels={"figure": "rates against Λ"},
        ),
    log:
        "<logs>/plot_rates.log",
    benchmark:
        "<benchmarks>/plot_rates.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../../scripts/lamost_mrs/plot_rates.py"


rule plot_detectability:
    """Recall on the test mocks against one label at a time (Fig. 6)."""
    input:
        scores=models(file="scores.parquet"),
        code=code("plots.mrs_models"),
    output:
        report(
            "<results>/lamost_mrs/figures/detectability.png",
            caption="../../report/detectability.rst",
            category="LAMOST MRS",
            subcategory="Models",
            labels={"figure": "detectability"},
        ),
    log:
        "<logs>/plot_detectability.log",
    benchmark:
        "<benchmarks>/plot_detectability.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        penalty=HEADLINE_PENALTY,
    script:
        "../../scripts/lamost_mrs/plot_detectability.py"


rule plot_reliability:
    """Share of binaries against predicted probability."""
    input:
        calibration="<results>/lamost_mrs/tables/calibration.json",
        code=code("plots.mrs_models"),
    output:
        report(
            "<results>/lamost_mrs/figures/reliability.png",
            caption="../../report/reliability.rst",
            category="LAMOST MRS",
            subcategory="Models",
            labels={"figure": "reliability"},
        ),
    log:
        "<logs>/plot_reliability.log",
    benchmark:
        "<benchmarks>/plot_reliability.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../../scripts/lamost_mrs/plot_reliability.py"


rule plot_penalty_shift:
    """How Λ moves the logit, against the expected −ln Λ."""
    input:
        calibration="<results>/lamost_mrs/tables/calibration.json",
        code=code("plots.mrs_models"),
    output:
        report(
            "<results>/lamost_mrs/figures/penalty_shift.png",
            caption="../../report/penalty_shift.rst",
            category="LAMOST MRS",
            subcategory="Models",
            labels={"figure": "shift of the logit"},
        ),
    log:
        "<logs>/plot_penalty_shift.log",
    benchmark:
        "<benchmarks>/plot_penalty_shift.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../../scripts/lamost_mrs/plot_penalty_shift.py"


rule plot_probability:
    """Probability against S/N of one arm (Fig. 7)."""
    input:
        catalog="<results>/lamost_mrs/catalogs/mrs.parquet",
        code=code("plots.mrs_catalog"),
    output:
        report(
            "<results>/lamost_mrs/figures/probability_{arm}.png",
            caption="../../report/probability.rst",
            category="LAMOST MRS",
            subcategory="Catalogue",
            labels={"figure": "probability against S/N", "arm": "{arm}"},
        ),
    log:
        "<logs>/plot_probability/{arm}.log",
    benchmark:
        "<benchmarks>/plot_probability/{arm}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        penalties=mrs.inference.penalties,
    script:
        "../../scripts/lamost_mrs/plot_probability.py"


rule plot_candidates:
    """Spectra of the best candidates with their cross-correlation (Fig. 12)."""
    input:
        candidates="<results>/lamost_mrs/catalogs/candidates.fits",
        shards=observed("<results>/lamost_mrs/ingest/shard{shard}.h5"),
        library="<library>/variant0.h5",
        code=code("plots.mrs_catalog"),
    output:
        report(
            "<results>/lamost_mrs/figures/candidates.png",
            caption="../../report/candidates.rst",
            category="LAMOST MRS",
            subcategory="Catalogue",
            labels={"figure": "candidates"},
        ),
    log:
        "<logs>/plot_candidates.log",
    benchmark:
        "<benchmarks>/plot_candidates.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        arms=arm_facts("lamost_mrs"),
        penalty=HEADLINE_PENALTY,
    script:
        "../../scripts/lamost_mrs/plot_candidates.py"


rule plot_night_recall:
    """The simulated night against its truth."""
    input:
        catalog="<results>/lamost_mrs/catalogs/mrs.parquet",
        night=NIGHT,
        code=code("plots.mrs_catalog"),
    output:
        report(
            "<results>/lamost_mrs/figures/night_recall.png",
            caption="../../report/night_recall.rst",
            category="LAMOST MRS",
            subcategory="Catalogue",
            labels={"figure": "the simulated night"},
        ),
    log:
        "<logs>/plot_night_recall.log",
    benchmark:
        "<benchmarks>/plot_night_recall.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        arms=mrs.arms,
        penalty=HEADLINE_PENALTY,
    script:
        "../../scripts/lamost_mrs/plot_night_recall.py"


rule write_checks:
    """Our numbers with their errors beside the paper's, and whether they keep what we promise."""
    input:
        rates="<results>/lamost_mrs/tables/rates.csv",
        calibration="<results>/lamost_mrs/tables/calibration.json",
        catalog="<results>/lamost_mrs/catalogs/mrs.parquet",
        night=NIGHT,
        code=code("evaluation.mrs_checks"),
    output:
        report(
            "<results>/lamost_mrs/checks.json",
            caption="../../report/checks.rst",
            category="LAMOST MRS",
            subcategory="Checks",
            labels={"table": "checks"},
        ),
    log:
        "<logs>/write_checks.log",
    benchmark:
        "<benchmarks>/write_checks.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        arms=mrs.arms,
        penalty=HEADLINE_PENALTY,
    script:
        "../../scripts/lamost_mrs/write_checks.py"


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
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        strict=settings.checks.strict,
    script:
        "../../scripts/lamost_mrs/judge_checks.py"


FIGURES = [
    "mock_pair",
    "papers_pair",
    "hr_diagram",
    "learning_curves",
    "rates",
    "detectability",
    "reliability",
    "penalty_shift",
    "candidates",
]
TARGETS["lamost_mrs"]["figures"] = [
    expand("<results>/lamost_mrs/figures/{name}.png", name=FIGURES),
    expand("<results>/lamost_mrs/figures/probability_{arm}.png", arm=mrs.arms),
    "<results>/lamost_mrs/figures/night_recall.png" if SIMULATED else [],
    "<results>/lamost_mrs/checks.judged",
]
TARGETS["lamost_mrs"]["all"] = TARGETS["lamost_mrs"]["catalogs"] + TARGETS["lamost_mrs"]["figures"]

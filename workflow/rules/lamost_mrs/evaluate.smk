# How good the models are on mocks that they have not seen.


rule score_spectra:
    """Score the test mocks with one model."""
    input:
        model="<results>/lamost_mrs/{arm}/{network}/lambda{lam}/seed{seed}/model.ckpt",
        description="<results>/lamost_mrs/{arm}/{network}/lambda{lam}/seed{seed}/model.json",
        test=learnt_shards("test"),
        code=code("evaluation.mrs_rates"),
    output:
        "<results>/lamost_mrs/{arm}/{network}/lambda{lam}/seed{seed}/scores.parquet",
    log:
        "<logs>/score_spectra/{arm}/{network}/lambda{lam}/seed{seed}.log",
    benchmark:
        "<benchmarks>/score_spectra/{arm}/{network}/lambda{lam}/seed{seed}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=60,
    script:
        "../../scripts/lamost_mrs/score_spectra.py"


if mrs.training.together:

    use rule score_spectra as score_penalties with:
        input:
            model=of_each_penalty("model.ckpt"),
            description=of_each_penalty("model.json"),
            test=learnt_shards("test"),
            code=code("evaluation.mrs_rates"),
        output:
            of_each_penalty("scores.parquet"),
        log:
            "<logs>/score_spectra/{arm}/{network}/seed{seed}.log",
        benchmark:
            "<benchmarks>/score_spectra/{arm}/{network}/seed{seed}.tsv"

    ruleorder: score_penalties > score_spectra


rule score_double_peak:
    """Score the test mocks with the classical double peak of the cross-correlation."""
    input:
        library="<library>/variant0.h5",
        test=mock_shards("test"),
        code=code("evaluation.double_peak"),
    output:
        "<results>/lamost_mrs/{arm}/classical.parquet",
    log:
        "<logs>/score_double_peak/{arm}.log",
    benchmark:
        "<benchmarks>/score_double_peak/{arm}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        grid=lambda wildcards: arm_facts("lamost_mrs")[wildcards.arm],
    script:
        "../../scripts/lamost_mrs/score_double_peak.py"


rule calibrate_evidence:
    """Calibrate log-odds of fits of two stars and of networks together on validation mocks as they are seen."""
    input:
        models=models(penalties=[HEADLINE_PENALTY]),
        mocks=seen_shards("validation"),
        tables=seen_shards("validation", "parquet"),
        fits="<results>/lamost_mrs/fits.json",
        code=code("evaluation.mock_evidence"),
    output:
        "<results>/lamost_mrs/evidence.json",
    log:
        "<logs>/calibrate_evidence.log",
    benchmark:
        "<benchmarks>/calibrate_evidence.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        arms=mrs.arms,
        penalty=HEADLINE_PENALTY,
    script:
        "../../scripts/lamost_mrs/calibrate_evidence.py"


rule score_twins:
    """Score twin binaries of chosen stars against S/N and separation, as observations are scored (Fig. 5)."""
    input:
        models=models(penalties=mrs.inference.penalties),
        library="<library>/variant0.h5",
        evidence="<results>/lamost_mrs/evidence.json",
        code=code("evaluation.twins"),
    output:
        "<results>/lamost_mrs/tables/twins.parquet",
    log:
        "<logs>/score_twins.log",
    benchmark:
        "<benchmarks>/score_twins.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        arms=arm_facts("lamost_mrs"),
        penalties=mrs.inference.penalties,
        draws=mrs.inference.draws,
        seed=settings.seed,
    script:
        "../../scripts/lamost_mrs/score_twins.py"


rule summarise_spectra:
    """Rates per arm and Λ beside the paper's, and how well calibrated the probabilities are."""
    input:
        scores=models(file="scores.parquet"),
        classical=expand("<results>/lamost_mrs/{arm}/classical.parquet", arm=mrs.arms),
        code=code("evaluation.mrs_rates"),
    output:
        rates="<results>/lamost_mrs/tables/rates.csv",
        calibration="<results>/lamost_mrs/tables/calibration.json",
    log:
        "<logs>/summarise_spectra.log",
    benchmark:
        "<benchmarks>/summarise_spectra.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        arms=mrs.arms,
    script:
        "../../scripts/lamost_mrs/summarise_spectra.py"


TARGETS["lamost_mrs"]["models"] = [models(), rules.summarise_spectra.output]

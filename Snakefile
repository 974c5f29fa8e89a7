"""Finds the second star: from stellar tracks and model spectra to catalogues of binaries.

snakemake --configfile config/demo.yaml --cores 2 demo      minutes, offline
snakemake --profile slurm lamost_mrs                        the paper's scale, on a cluster
snakemake results/demo/lamost_mrs/blue/cnn_s/lambda16/seed1/model.ckpt --configfile config/demo.yaml --cores 1
"""

from snakemake.utils import min_version

min_version("9.12")


configfile: f"{workflow.basedir}/config/config.yaml"
configfile: f"{workflow.basedir}/config/surveys.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/lamost_mrs/names.smk"
include: "workflow/rules/images/names.smk"
include: "workflow/rules/cluster/names.smk"
include: "workflow/rules/lamost_lrs/names.smk"


pathvars:
    results=f"results/{settings.preset}",
    logs=f"results/{settings.preset}/logs",
    benchmarks=f"results/{settings.preset}/benchmarks",
    library=f"resources/library/{library_digest()}",
    lrs_library=f"resources/library/{lrs_library_digest()}",


report: "workflow/report/workflow.rst"


include: "workflow/rules/sources.smk"
include: "workflow/rules/lamost_mrs/mocks.smk"
include: "workflow/rules/lamost_mrs/train.smk"
include: "workflow/rules/lamost_mrs/evaluate.smk"
include: "workflow/rules/shards.smk"
include: "workflow/rules/lamost_mrs/ingest.smk"
include: "workflow/rules/lamost_mrs/infer.smk"
include: "workflow/rules/lamost_mrs/catalog.smk"
include: "workflow/rules/lamost_mrs/sources.smk"
include: "workflow/rules/lamost_lrs/mocks.smk"
include: "workflow/rules/lamost_lrs/train.smk"
include: "workflow/rules/lamost_lrs/survey.smk"
include: "workflow/rules/lamost_lrs/evaluate.smk"
include: "workflow/rules/images/stamps.smk"
include: "workflow/rules/images/calibrate.smk"
include: "workflow/rules/images/score.smk"
include: "workflow/rules/cluster/photometry.smk"
include: "workflow/rules/protostar/names.smk"
include: "workflow/rules/protostar/search.smk"
include: "workflow/rules/lamost_mrs/figures.smk"
include: "workflow/rules/images/figures.smk"
include: "workflow/rules/cluster/figures.smk"
include: "workflow/rules/protostar/figures.smk"
include: "workflow/rules/checks.smk"
include: "workflow/rules/summary.smk"
include: "workflow/rules/release.smk"
include: "workflow/rules/bench.smk"


rule all:
    """Everything of the surveys that the settings list."""
    default_target: True
    input:
        surveys_of("all"),
        "<results>/summary.html",


rule demo:
    """What a newcomer wants to see: catalogue, figures and checks of every survey listed."""
    input:
        surveys_of("all"),
        "<results>/summary.html",


rule csst:
    """CSST (Wu et al. 2023, §2 and §3): models on mock stamps, figures and checks."""
    input:
        TARGETS["csst"]["all"],


rule hst:
    """HST (Wu et al. 2023, §4): models on mock stamps, figures and checks."""
    input:
        TARGETS["hst"]["all"],


rule protostar:
    """Simulated analogues of protostellar binaries (Al-Belmeisi et al. 2023): ranked, estimated and benchmarked."""
    input:
        TARGETS["protostar"]["all"],


rule lamost_mrs:
    """LAMOST MRS (Zhang et al. 2022): catalogue, figures and checks."""
    input:
        TARGETS["lamost_mrs"]["all"],


rule lamost_lrs:
    """LAMOST LRS (Jing et al. 2025): catalogue, figures and checks."""
    input:
        TARGETS["lamost_lrs"]["all"],


rule mocks:
    """All mock observations."""
    input:
        surveys_of("mocks"),


rule models:
    """All trained models with their scores on the test mocks."""
    input:
        surveys_of("models"),


rule catalogs:
    """All catalogues."""
    input:
        surveys_of("catalogs"),


rule figures:
    """All figures and the checks against the papers."""
    input:
        surveys_of("figures"),


rule release:
    """Train and pack the models that `dioscuri predict` uses (with config/release.yaml), and test them."""
    input:
        rules.pack_spectra.output,
        rules.pack_lrs.output,
        expand([*rules.pack_images.output, *rules.calibrate_released.output], survey=["csst", "hst"]),
        expand(rules.summarise_images.output, survey=["csst", "hst"]),
        surveys_of("all"),


rule bench:
    """Ours and the published way side by side, on this machine."""
    input:
        "<results>/bench/benchmarks.csv",

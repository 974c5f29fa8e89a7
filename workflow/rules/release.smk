# The models that `dioscuri predict` uses, packed from trained ones (config/release.yaml; `make release`).

# Only the release preset writes what the repository ships; any other packs its models beside its results
# (`dioscuri predict --models results/<preset>/models`).
RELEASED = "models" if settings.preset == "release" else "<results>/models"


rule pack_spectra:
    """Pack all seeds of an arm into one small file, and the velocity templates of their library beside them."""
    input:
        models=models(penalties=[HEADLINE_PENALTY]),
        evidence="<results>/lamost_mrs/evidence.json",
        library="<library>/variant0.h5",
        code=code("release"),
    output:
        models=expand(f"{RELEASED}/lamost_mrs/{{arm}}.safetensors", arm=mrs.arms),
        templates=f"{RELEASED}/lamost_mrs/templates.h5",
        evidence=f"{RELEASED}/lamost_mrs/evidence.json",
    log:
        "<logs>/pack_spectra.log",
    benchmark:
        "<benchmarks>/pack_spectra.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
    params:
        arms=arm_facts("lamost_mrs"),
    script:
        "../scripts/pack_spectra.py"


rule pack_images:
    """Pack all seeds of the compact network of the case that predictions go by into one small file."""
    input:
        models=lambda wildcards: expand(
            "<results>/{survey}/{case}/compact/seed{seed}/model.ckpt",
            survey=wildcards.survey,
            case=images_of(wildcards).headline,
            seed=images_of(wildcards).seeds,
        ),
        code=code("learn.images.inference"),
    output:
        f"{RELEASED}/{{survey}}/compact.safetensors",
    log:
        "<logs>/pack_images/{survey}.log",
    benchmark:
        "<benchmarks>/pack_images/{survey}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
    script:
        "../scripts/pack_images.py"


rule calibrate_released:
    """Make probabilities of what the released image networks answer; no training is repeated."""
    input:
        models=[f"{RELEASED}/{{survey}}/compact.safetensors"],
        bank=lambda wildcards: f"<results>/{wildcards.survey}/psf/{release_case(wildcards).bank}.npz",
        assumed="<results>/{survey}/psf/nominal.npz",
        code=code("stamps.calibrate"),
    output:
        f"{RELEASED}/{{survey}}/calibration.json",
    log:
        "<logs>/calibrate_released/{survey}.log",
    benchmark:
        "<benchmarks>/calibrate_released/{survey}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        law=lambda wildcards: release_case(wildcards).model_dump(exclude={"bank"})
        | images_of(wildcards).sources.model_dump(),
        noise=lambda wildcards: images_of(wildcards).noise.model_dump(),
        n=40000,
        seed=lambda wildcards: seed_of("calibration", wildcards.survey),
    script:
        "../scripts/images/calibrate_images.py"


rule pack_lrs:
    """Pack what `dioscuri predict --survey lamost_lrs` needs.

    The calibration among it where `lamost_lrs.calibration` names real stars (rule calibrate_lrs); else it stays as it is.
    """
    input:
        networks=lrs_networks(),
        parts=[
            *rules.make_lrs_models.output,
            *rules.make_lrs_templates.output,
            *([LRS_CALIBRATION] if lrs.calibration else []),
        ],
        code=code("evaluation.lrs_models"),
    output:
        networks=f"{RELEASED}/lamost_lrs/dense.safetensors",
        parts=expand(
            f"{RELEASED}/lamost_lrs/{{name}}",
            name=["components.h5", "pair_fit.h5", "range.json", "templates.h5"]
            + (["calibration.h5"] if lrs.calibration else []),
        ),
    log:
        "<logs>/pack_lrs.log",
    benchmark:
        "<benchmarks>/pack_lrs.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    script:
        "../scripts/lamost_lrs/pack_models.py"

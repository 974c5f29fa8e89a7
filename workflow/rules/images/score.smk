# Stamps of the user's own, scored by the released networks or by those of this run.


rule score_stamps:
    """Two stars or one in every stamp given: a table with a row for each, scored or refused with the reason."""
    input:
        psf="<results>/{survey}/psf/nominal.npz",
        models=lambda wildcards: stamp_networks(wildcards.survey),
        code=code("predict.csst", "predict.images"),
    output:
        table=multiext("<results>/{survey}/catalogs/stamps", ".parquet", ".fits"),
        figure=report(
            "<results>/{survey}/figures/stamps.png",
            caption="../../report/stamps.rst",
            category=lambda wildcards: wildcards.survey.upper(),
            subcategory="Catalogue",
            labels={"figure": "stamps"},
        ),
    log:
        "<logs>/score_stamps/{survey}.log",
    benchmark:
        "<benchmarks>/score_stamps/{survey}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=480,
    params:
        stamps=lambda wildcards: images_of(wildcards).stamps,
        files=lambda wildcards: files_seen(images_of(wildcards).stamps),
        noise=lambda wildcards: images_of(wildcards).noise.model_dump(),
    script:
        "../../scripts/images/score_stamps.py"


for survey in IMAGES:
    if IMAGES[survey].stamps:
        TARGETS[survey]["catalogs"] += multiext(f"<results>/{survey}/catalogs/stamps", ".parquet", ".fits")

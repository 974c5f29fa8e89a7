# Figures of the star cluster with captions for the report.


rule plot_cluster:
    """The diagram (Fig. 8), the PSF (Fig. 9), the best candidates, where they are (Figs. 11 and 12), and artificial stars."""
    input:
        sources="<results>/hst/catalogs/sources.parquet",
        candidates="<results>/hst/catalogs/candidates.parquet",
        detections="<results>/hst/catalogs/detections.parquet",
        frame=lambda wildcards: frame_of(SEARCHED[0]),
        psf=f"<results>/hst/psf/{SEARCHED[0]}.npz" if CLUSTER else [],
        scores=f"<results>/hst/scores/{SEARCHED[0]}.parquet" if CLUSTER else [],
        training="<results>/hst/psf/nominal.npz",
        spatial="<results>/hst/tables/spatial.json",
        artificial="<results>/hst/tables/artificial.parquet",
        rates="<results>/hst/tables/artificial.csv",
        known="<results>/hst/tables/known.parquet" if FIELD else [],
        code=code("plots.images_cluster", "plots.images_candidates"),
    output:
        cmd=shown(
            "<results>/hst/figures/cmd.png", "Catalogue", "colour–magnitude diagram", caption="cluster_cmd"
        ),
        frame_psf=shown(
            "<results>/hst/figures/frame_psf.png", "Catalogue", "PSF of the frame", caption="cluster_psf"
        ),
        candidates=shown(
            "<results>/hst/figures/candidates.png", "Catalogue", "candidates", caption="cluster_candidates"
        ),
        spatial_map=shown(
            "<results>/hst/figures/spatial_map.png",
            "Catalogue",
            "spatial distribution",
            caption="cluster_map",
        ),
        radial=shown(
            "<results>/hst/figures/radial.png", "Catalogue", "radial distribution", caption="cluster_radial"
        ),
        artificial_stars=shown(
            "<results>/hst/figures/artificial_stars.png",
            "Assessment",
            "artificial stars",
            caption="cluster_artificial",
        ),
    log:
        "<logs>/plot_cluster.log",
    benchmark:
        "<benchmarks>/plot_cluster.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        group="cluster",
        blue=lambda wildcards: CLUSTER.regions.blue,
        red=lambda wildcards: CLUSTER.regions.red,
        centre=lambda wildcards: CLUSTER.centre,
        core_radius=lambda wildcards: CLUSTER.core_radius,
    script:
        "../../scripts/plot.py"


rule plot_simulated_cluster:
    """What is found of a simulated field: errors of the photometry, wide pairs, their separations and flux ratios."""
    input:
        table="<results>/hst/tables/photometry.csv",
        known="<results>/hst/tables/known.parquet",
        rates="<results>/hst/tables/truth.csv",
        code=code("plots.images_cluster"),
    output:
        photometry=shown(
            "<results>/hst/figures/photometry.png", "Assessment", "photometry", caption="cluster_photometry"
        ),
        completeness=shown(
            "<results>/hst/figures/completeness.png",
            "Assessment",
            "completeness and purity",
            caption="cluster_completeness",
        ),
        companions=shown(
            "<results>/hst/figures/companions.png", "Assessment", "companions", caption="cluster_companions"
        ),
    log:
        "<logs>/plot_simulated_cluster.log",
    benchmark:
        "<benchmarks>/plot_simulated_cluster.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        group="cluster",
        pixel_scale=HST_PIXEL,
    script:
        "../../scripts/plot.py"


if CLUSTER:
    for stage in ("figures", "all"):
        TARGETS["hst"][stage] += [
            rules.plot_cluster.output,
            rules.plot_simulated_cluster.output if FIELD else [],
            "<results>/hst/tables/cluster_checks.json",
        ]

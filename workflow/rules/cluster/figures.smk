# Figures of the star cluster with captions for the report.


rule plot_cluster_diagram:
    """The colour–magnitude diagram with its regions and the candidates (Fig. 8)."""
    input:
        sources="<results>/hst/catalogs/sources.parquet",
        code=code("plots.images_cluster"),
    output:
        report(
            "<results>/hst/figures/cmd.png",
            caption="../../report/cluster_cmd.rst",
            category="HST",
            subcategory="Catalogue",
            labels={"figure": "colour–magnitude diagram"},
        ),
    log:
        "<logs>/plot_cluster/cmd.log",
    benchmark:
        "<benchmarks>/plot_cluster/cmd.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        figure="cmd",
        files=["sources"],
        settings=lambda wildcards: {
            "blue": CLUSTER.regions.blue,
            "red": CLUSTER.regions.red,
        },
    script:
        "../../scripts/cluster/plot_cluster.py"


rule plot_cluster_frame_psf:
    """The PSF of an exposure, its error, and how it differs from the one that networks know (Fig. 9)."""
    input:
        psf=f"<results>/hst/psf/{SEARCHED[0]}.npz" if CLUSTER else [],
        training="<results>/hst/psf/nominal.npz",
        code=code("plots.images_cluster"),
    output:
        report(
            "<results>/hst/figures/frame_psf.png",
            caption="../../report/cluster_psf.rst",
            category="HST",
            subcategory="Catalogue",
            labels={"figure": "PSF of the frame"},
        ),
    log:
        "<logs>/plot_cluster/frame_psf.log",
    benchmark:
        "<benchmarks>/plot_cluster/frame_psf.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        figure="frame_psf",
        files=["psf", "training"],
        settings=lambda wildcards: {},
    script:
        "../../scripts/cluster/plot_cluster.py"


rule plot_cluster_candidates:
    """The best candidates: stamp, what one star leaves, and what the fitted pair leaves."""
    input:
        candidates="<results>/hst/catalogs/candidates.parquet",
        frame=lambda wildcards: frame_of(SEARCHED[0]),
        psf=f"<results>/hst/psf/{SEARCHED[0]}.npz" if CLUSTER else [],
        detections="<results>/hst/catalogs/detections.parquet",
        scores=f"<results>/hst/scores/{SEARCHED[0]}.parquet" if CLUSTER else [],
        known="<results>/hst/tables/known.parquet" if FIELD else [],
        code=code("plots.images_cluster"),
    output:
        report(
            "<results>/hst/figures/candidates.png",
            caption="../../report/cluster_candidates.rst",
            category="HST",
            subcategory="Catalogue",
            labels={"figure": "candidates"},
        ),
    log:
        "<logs>/plot_cluster/candidates.log",
    benchmark:
        "<benchmarks>/plot_cluster/candidates.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        figure="candidates",
        files=[
            "candidates",
            "frame",
            "psf",
            "detections",
            "scores",
            *(["known"] if FIELD else []),
        ],
        settings=lambda wildcards: {},
    script:
        "../../scripts/cluster/plot_cluster.py"


rule plot_cluster_spatial_map:
    """Where the sources and the candidates are (Fig. 11)."""
    input:
        sources="<results>/hst/catalogs/sources.parquet",
        code=code("plots.images_cluster"),
    output:
        report(
            "<results>/hst/figures/spatial_map.png",
            caption="../../report/cluster_map.rst",
            category="HST",
            subcategory="Catalogue",
            labels={"figure": "spatial distribution"},
        ),
    log:
        "<logs>/plot_cluster/spatial_map.log",
    benchmark:
        "<benchmarks>/plot_cluster/spatial_map.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        figure="spatial_map",
        files=["sources"],
        settings=lambda wildcards: {
            "centre": CLUSTER.centre,
            "core_radius": CLUSTER.core_radius,
        },
    script:
        "../../scripts/cluster/plot_cluster.py"


rule plot_cluster_radial:
    """Distances from the centre: cumulative distributions and quantiles (Fig. 12)."""
    input:
        sources="<results>/hst/catalogs/sources.parquet",
        spatial="<results>/hst/tables/spatial.json",
        code=code("plots.images_cluster"),
    output:
        report(
            "<results>/hst/figures/radial.png",
            caption="../../report/cluster_radial.rst",
            category="HST",
            subcategory="Catalogue",
            labels={"figure": "radial distribution"},
        ),
    log:
        "<logs>/plot_cluster/radial.log",
    benchmark:
        "<benchmarks>/plot_cluster/radial.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        figure="radial",
        files=["sources", "spatial"],
        settings=lambda wildcards: {},
    script:
        "../../scripts/cluster/plot_cluster.py"


rule plot_cluster_artificial_stars:
    """Artificial pairs found, and artificial single stars on the list."""
    input:
        artificial="<results>/hst/tables/artificial.parquet",
        rates="<results>/hst/tables/artificial.csv",
        code=code("plots.images_cluster"),
    output:
        report(
            "<results>/hst/figures/artificial_stars.png",
            caption="../../report/cluster_artificial.rst",
            category="HST",
            subcategory="Assessment",
            labels={"figure": "artificial stars"},
        ),
    log:
        "<logs>/plot_cluster/artificial_stars.log",
    benchmark:
        "<benchmarks>/plot_cluster/artificial_stars.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        figure="artificial_stars",
        files=["artificial", "rates"],
        settings=lambda wildcards: {},
    script:
        "../../scripts/cluster/plot_cluster.py"


rule plot_cluster_photometry:
    """Errors of the photometry beside what photons allow."""
    input:
        table="<results>/hst/tables/photometry.csv",
        code=code("plots.images_cluster"),
    output:
        report(
            "<results>/hst/figures/photometry.png",
            caption="../../report/cluster_photometry.rst",
            category="HST",
            subcategory="Assessment",
            labels={"figure": "photometry"},
        ),
    log:
        "<logs>/plot_cluster/photometry.log",
    benchmark:
        "<benchmarks>/plot_cluster/photometry.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        figure="photometry",
        files=["table"],
        settings=lambda wildcards: {},
    script:
        "../../scripts/cluster/plot_cluster.py"


rule plot_cluster_completeness:
    """Wide pairs found among the known stars, and how pure the list is."""
    input:
        known="<results>/hst/tables/known.parquet",
        rates="<results>/hst/tables/truth.csv",
        code=code("plots.images_cluster"),
    output:
        report(
            "<results>/hst/figures/completeness.png",
            caption="../../report/cluster_completeness.rst",
            category="HST",
            subcategory="Assessment",
            labels={"figure": "completeness and purity"},
        ),
    log:
        "<logs>/plot_cluster/completeness.log",
    benchmark:
        "<benchmarks>/plot_cluster/completeness.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        figure="completeness",
        files=["known", "rates"],
        settings=lambda wildcards: {},
    script:
        "../../scripts/cluster/plot_cluster.py"


rule plot_cluster_companions:
    """Separation, position angle and flux ratio of found pairs against the truth."""
    input:
        known="<results>/hst/tables/known.parquet",
        code=code("plots.images_cluster"),
    output:
        report(
            "<results>/hst/figures/companions.png",
            caption="../../report/cluster_companions.rst",
            category="HST",
            subcategory="Assessment",
            labels={"figure": "companions"},
        ),
    log:
        "<logs>/plot_cluster/companions.log",
    benchmark:
        "<benchmarks>/plot_cluster/companions.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        figure="companions",
        files=["known"],
        settings=lambda wildcards: {"pixel_scale": HST_PIXEL},
    script:
        "../../scripts/cluster/plot_cluster.py"


if CLUSTER:
    TARGETS["hst"]["figures"] += cluster_figures()
    TARGETS["hst"]["all"] += cluster_figures()

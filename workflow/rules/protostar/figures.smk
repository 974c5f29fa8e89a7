# Figures of the protostar line with captions for the report, and its checks.

FIGURES_OF_HEADLINE = [
    "distances",
    "parameters_plain",
    *(["parameters_heads"] if protostar.head.recipes else []),
]
TRUE_SNAPSHOTS = [
    path
    for query in QUERIES
    if HEADLINE_CHANNEL in channels_of(query)
    for path in features_of(query, HEADLINE_CHANNEL, "true_snapshots.csv")
]
CAVEAT = "" if protostar.catalogue.files else "\ntoy catalogue: no magnetic fields, no radiation transfer"


rule plot_analogue_gallery:
    """What the catalogue looks like: systems through time."""
    input:
        shards=ANALOGUE_SHARDS,
        code=code("plots.analogues"),
    output:
        report(
            "<results>/protostar/figures/gallery.png",
            caption="../../report/analogue_gallery.rst",
            category="Protostars",
            subcategory="Catalogue",
            labels={"figure": "systems through time"},
        ),
    log:
        "<logs>/plot_analogue_gallery.log",
    benchmark:
        "<benchmarks>/plot_analogue_gallery.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        channels=protostar.channels,
        decades=protostar.decades,
    script:
        "../../scripts/protostar/plot_analogue_gallery.py"


rule plot_ranked_sheet:
    """The observation among its best analogues (Fig. 6)."""
    input:
        ranking="<results>/protostar/{query}/{channel}/ranking.parquet",
        query="<results>/protostar/{query}/{channel}/query.npz",
        shards=ANALOGUE_SHARDS,
        code=code("plots.analogues"),
    output:
        report(
            "<results>/protostar/figures/{query}/{channel}_sheet.png",
            caption="../../report/analogue_sheet.rst",
            category="Protostars",
            subcategory="Search",
            labels={"figure": "ranked analogues", "query": "{query}", "channel": "{channel}"},
        ),
    log:
        "<logs>/plot_ranked_sheet/{query}/{channel}.log",
    benchmark:
        "<benchmarks>/plot_ranked_sheet/{query}/{channel}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        decades=protostar.decades,
        method=protostar.use[0],
        metric=protostar.metrics[0],
        caveat=CAVEAT,
    script:
        "../../scripts/protostar/plot_ranked_sheet.py"


rule plot_distances:
    """Distances of the catalogue to the query by network and metric (Fig. 5)."""
    input:
        ranking="<results>/protostar/{query}/{channel}/ranking.parquet",
        code=code("plots.analogues"),
    output:
        report(
            "<results>/protostar/figures/{query}/{channel}_distances.png",
            caption="../../report/analogue_distances.rst",
            category="Protostars",
            subcategory="Search",
            labels={"figure": "distances", "query": "{query}", "channel": "{channel}"},
        ),
    log:
        "<logs>/plot_distances/{query}/{channel}.log",
    benchmark:
        "<benchmarks>/plot_distances/{query}/{channel}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        cut=protostar.cut.model_dump(),
    script:
        "../../scripts/protostar/plot_distances.py"


rule plot_evolution:
    """The best-matching system through time, and when its matches are (Fig. 4)."""
    input:
        rankings=lambda wildcards: rankings(wildcards.query),
        truth=lambda wildcards: truth_of(wildcards.query),
        shards=ANALOGUE_SHARDS,
        code=code("plots.analogues"),
    output:
        report(
            "<results>/protostar/figures/{query}/evolution.png",
            caption="../../report/analogue_evolution.rst",
            category="Protostars",
            subcategory="Search",
            labels={"figure": "evolution of the best system", "query": "{query}"},
        ),
    log:
        "<logs>/plot_evolution/{query}.log",
    benchmark:
        "<benchmarks>/plot_evolution/{query}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        channels=lambda wildcards: channels_of(wildcards.query),
        method=protostar.use[0],
        metric=protostar.metrics[0],
    script:
        "../../scripts/protostar/plot_evolution.py"


rule plot_parameters:
    """Parameters of the analogues: plain features (Fig. 7) or trained heads (Fig. 8)."""
    input:
        ranking="<results>/protostar/{query}/{channel}/ranking.parquet",
        truth=lambda wildcards: truth_of(wildcards.query),
        shards=ANALOGUE_SHARDS,
        code=code("plots.analogues"),
    output:
        report(
            "<results>/protostar/figures/{query}/{channel}_parameters_{kind}.png",
            caption="../../report/analogue_parameters.rst",
            category="Protostars",
            subcategory="Search",
            labels={"figure": "parameters, {kind}", "query": "{query}", "channel": "{channel}"},
        ),
    log:
        "<logs>/plot_parameters/{query}/{channel}/{kind}.log",
    benchmark:
        "<benchmarks>/plot_parameters/{query}/{channel}/{kind}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        methods=lambda wildcards: methods_of(wildcards.kind),
        metric=protostar.metrics[0],
        cut=protostar.cut.model_dump(),
        isotropic=protostar.isotropic,
        caveat=CAVEAT,
    script:
        "../../scripts/protostar/plot_parameters.py"


rule plot_recovery:
    """How well known parameters are recovered, by split and method, between chance and the oracle."""
    input:
        recovery="<results>/protostar/tables/recovery.csv",
        code=code("plots.analogues"),
    output:
        report(
            "<results>/protostar/figures/recovery.png",
            caption="../../report/analogue_recovery.rst",
            category="Protostars",
            subcategory="Benchmark",
            labels={"figure": "recovered parameters"},
        ),
    log:
        "<logs>/plot_recovery.log",
    benchmark:
        "<benchmarks>/plot_recovery.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    script:
        "../../scripts/protostar/plot_recovery.py"


rule check_analogues:
    """Our numbers with their errors; the paper prints none."""
    input:
        recovery="<results>/protostar/tables/recovery.csv",
        heads="<results>/protostar/tables/heads.csv",
        true_snapshots=TRUE_SNAPSHOTS,
        code=code("evaluation.protostar_checks"),
    output:
        report(
            "<results>/protostar/checks.json",
            caption="../../report/checks.rst",
            category="Protostars",
            subcategory="Checks",
            labels={"figure": "numbers"},
        ),
    log:
        "<logs>/check_analogues.log",
    benchmark:
        "<benchmarks>/check_analogues.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    script:
        "../../scripts/protostar/check_analogues.py"


TARGETS["protostar"]["figures"] = [
    "<results>/protostar/figures/gallery.png",
    "<results>/protostar/figures/recovery.png",
    [
        expand(
            "<results>/protostar/figures/{query}/{channel}_{name}.png",
            query=query,
            channel=channel,
            name=name,
        )
        for query in QUERIES
        for channel in channels_of(query)
        for name in ["sheet", *FIGURES_OF_HEADLINE * (channel == HEADLINE_CHANNEL)]
    ],
    expand("<results>/protostar/figures/{query}/evolution.png", query=QUERIES),
    "<results>/protostar/checks.judged",
]
TARGETS["protostar"]["all"] = [
    TARGETS["protostar"][stage] for stage in ("mocks", "models", "catalogs", "figures")
]

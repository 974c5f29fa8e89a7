# Figures of the protostar line with captions for the report, and its checks.
TRUE_SNAPSHOTS = [
    path
    for query in QUERIES
    if HEADLINE_CHANNEL in channels_of(query)
    for path in features_of(query, HEADLINE_CHANNEL, "true_snapshots.csv")
]
CAVEAT = "" if protostar.catalogue.files else "\ntoy catalogue: no magnetic fields, no radiation transfer"
KINDS = ["plain", *(["heads"] if protostar.head.recipes else [])]


rule plot_analogues:
    """Systems of the catalogue through time, and how well known parameters are recovered."""
    input:
        shards=ANALOGUE_SHARDS,
        recovery="<results>/protostar/tables/recovery.csv",
        code=code("plots.analogues", "plots.trust"),
    output:
        gallery=shown(
            "<results>/protostar/figures/gallery.png",
            "Catalogue",
            "systems through time",
            "analogue_gallery",
        ),
        recovery=shown(
            "<results>/protostar/figures/recovery.png",
            "Benchmark",
            "recovered parameters",
            "analogue_recovery",
        ),
        coverage=shown(
            "<results>/protostar/figures/coverage.png",
            "Benchmark",
            "coverage, and how images are observed",
            "analogue_coverage",
        ),
    log:
        "<logs>/plot_analogues.log",
    benchmark:
        "<benchmarks>/plot_analogues.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        group="protostar",
        channels=protostar.channels,
        decades=protostar.decades,
    script:
        "../../scripts/plot.py"


rule plot_ranking:
    """The observation among its best analogues (Fig. 6), and the distances of all of the catalogue (Fig. 5)."""
    input:
        ranking="<results>/protostar/{query}/{channel}/ranking.parquet",
        query="<results>/protostar/{query}/{channel}/query.npz",
        members=lambda wildcards: features_of(wildcards.query, wildcards.channel),
        queries=lambda wildcards: features_of(wildcards.query, wildcards.channel, "query.h5"),
        shards=ANALOGUE_SHARDS,
        code=code("plots.analogues", "plots.trust"),
    output:
        sheet=shown(
            "<results>/protostar/figures/{query}/{channel}_sheet.png",
            "Search",
            "ranked analogues",
            "analogue_sheet",
            query="{query}",
            channel="{channel}",
        ),
        distances=shown(
            "<results>/protostar/figures/{query}/{channel}_distances.png",
            "Search",
            "distances",
            "analogue_distances",
            query="{query}",
            channel="{channel}",
        ),
        domain=shown(
            "<results>/protostar/figures/{query}/{channel}_domain.png",
            "Search",
            "is it like the catalogue?",
            "analogue_domain",
            query="{query}",
            channel="{channel}",
        ),
    log:
        "<logs>/plot_ranking/{query}/{channel}.log",
    benchmark:
        "<benchmarks>/plot_ranking/{query}/{channel}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        group="protostar",
        decades=protostar.decades,
        method=protostar.use[0],
        metric=protostar.metrics[0],
        cut=protostar.cut.model_dump(),
        caveat=CAVEAT,
    script:
        "../../scripts/plot.py"


rule plot_evolution:
    """The best-matching system through time, and when its matches are (Fig. 4)."""
    input:
        rankings=lambda wildcards: rankings(wildcards.query),
        truth=lambda wildcards: truth_of(wildcards.query),
        shards=ANALOGUE_SHARDS,
        code=code("plots.analogues"),
    output:
        evolution=shown(
            "<results>/protostar/figures/{query}/evolution.png",
            "Search",
            "evolution of the best system",
            "analogue_evolution",
            query="{query}",
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
        group="protostar",
        channels=lambda wildcards: channels_of(wildcards.query),
        method=protostar.use[0],
        metric=protostar.metrics[0],
    script:
        "../../scripts/plot.py"


rule plot_parameters:
    """Parameters of the analogues: plain features (Fig. 7) or trained heads (Fig. 8)."""
    input:
        ranking="<results>/protostar/{query}/{channel}/ranking.parquet",
        truth=lambda wildcards: truth_of(wildcards.query),
        shards=ANALOGUE_SHARDS,
        code=code("plots.analogues"),
    output:
        parameters=shown(
            "<results>/protostar/figures/{query}/{channel}_parameters_{kind}.png",
            "Search",
            "parameters, {kind}",
            "analogue_parameters",
            query="{query}",
            channel="{channel}",
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
        group="protostar",
        methods=lambda wildcards: methods_of(wildcards.kind),
        metric=protostar.metrics[0],
        cut=protostar.cut.model_dump(),
        isotropic=protostar.isotropic,
        caveat=CAVEAT,
    script:
        "../../scripts/plot.py"


rule check_analogues:
    """Our numbers with their errors; the paper prints none."""
    input:
        recovery="<results>/protostar/tables/recovery.csv",
        heads="<results>/protostar/tables/heads.csv",
        true_snapshots=TRUE_SNAPSHOTS,
        code=code("evaluation.protostar_checks"),
    output:
        shown("<results>/protostar/checks.json", "Checks", "numbers"),
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
    rules.plot_analogues.output,
    [expand(rules.plot_ranking.output, query=query, channel=channels_of(query)) for query in QUERIES],
    expand(rules.plot_evolution.output, query=QUERIES),
    [
        expand(rules.plot_parameters.output, query=query, channel=HEADLINE_CHANNEL, kind=KINDS)
        for query in QUERIES
        if HEADLINE_CHANNEL in channels_of(query)
    ],
    "<results>/protostar/checks.judged",
]
TARGETS["protostar"]["all"] = [
    TARGETS["protostar"][stage] for stage in ("mocks", "models", "catalogs", "figures")
]

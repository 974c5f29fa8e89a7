# Simulated analogues of protostellar binaries (Al-Belmeisi et al. 2023): catalogue, features, heads, ranks, benchmark.


rule simulate_system:
    """One collapse of the toy catalogue; the number of the system is its seed."""
    input:
        code=code("analogues.simulation.collapse"),
    output:
        "<results>/protostar/systems/system{system}.h5",
    log:
        "<logs>/simulate_system/{system}.log",
    benchmark:
        "<benchmarks>/simulate_system/{system}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        seed=lambda wildcards: 1000 * settings.seed + int(wildcards.system),
        size=protostar.catalogue.model_dump(include={"n_particles", "n_snapshots", "duration", "separation"}),
    script:
        "../../scripts/protostar/simulate_system.py"


rule observe_system:
    """Images of a system from all lines of sight around the cone, and their metadata."""
    input:
        system="<results>/protostar/systems/system{system}.h5",
        code=code("analogues.synthetic"),
    output:
        "<results>/protostar/catalogue/system{system}.h5",
    log:
        "<logs>/observe_system/{system}.log",
    benchmark:
        "<benchmarks>/observe_system/{system}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        catalogue=protostar.catalogue.model_dump(),
        channels=protostar.channels,
    script:
        "../../scripts/protostar/observe_system.py"


rule load_analogues:
    """A user's own synthetic observations as a catalogue."""
    input:
        files=[file for channel in protostar.catalogue.files.values() for file in channel.files],
        metadata=protostar.catalogue.metadata or [],
        code=code("analogues.user_catalogue"),
    output:
        "<results>/protostar/catalogue/systemuser.h5",
    log:
        "<logs>/load_analogues.log",
    benchmark:
        "<benchmarks>/load_analogues.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        catalogue=protostar.catalogue.model_dump(),
        channels=protostar.channels,
    script:
        "../../scripts/protostar/load_analogues.py"


rule observe_query:
    """A simulated observation of a system that the catalogue does not have: FITS maps, and the truth."""
    input:
        system=f"<results>/protostar/systems/system{protostar.catalogue.n_systems:03d}.h5",
        code=code("analogues.observation.mock_observation"),
    output:
        maps=expand("<results>/protostar/observation/{channel}.fits", channel=protostar.channels),
        truth="<results>/protostar/observation/truth.json",
    log:
        "<logs>/observe_query.log",
    benchmark:
        "<benchmarks>/observe_query.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        catalogue=protostar.catalogue.model_dump(),
        channels=protostar.channels,
        seed=settings.seed,
    script:
        "../../scripts/protostar/observe_query.py"


rule prepare_query:
    """Recentre, turn, zoom and crop an observed map onto the pixels of the catalogue (§3.1)."""
    input:
        map=map_of,
        telescope=telescope_of,
        truth=lambda wildcards: truth_of(wildcards.query),
        shards=ANALOGUE_SHARDS,
        code=code("analogues.search"),
    output:
        "<results>/protostar/{query}/{channel}/query.npz",
    log:
        "<logs>/prepare_query/{query}/{channel}.log",
    benchmark:
        "<benchmarks>/prepare_query/{query}/{channel}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        query=lambda wildcards: (
            protostar.queries[wildcards.query].model_dump(exclude={"maps"})
            if wildcards.query in protostar.queries
            else {}
        ),
    script:
        "../../scripts/protostar/prepare_query.py"


rule measure_catalogue:
    """Feature vectors of the catalogue's images, as they are or as an observation: what the benchmark compares."""
    input:
        shards=ANALOGUE_SHARDS,
        telescope=lambda wildcards: [
            file
            for seen in [protostar.benchmark.observations.get(wildcards.observation)]
            for file in (seen and (seen.uv, seen.antennas) or ())
            if file
        ],
        code=code("analogues.search"),
    output:
        "<results>/protostar/benchmark/{observation}/{channel}/{network}.h5",
    log:
        "<logs>/measure_catalogue/{observation}/{channel}/{network}.log",
    benchmark:
        "<benchmarks>/measure_catalogue/{observation}/{channel}/{network}.tsv"
    wildcard_constraints:
        network="|".join(protostar.networks),
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=480,
        gpu=1,
    params:
        network=lambda wildcards: protostar.networks[wildcards.network].model_dump(),
        stretch=protostar.model_dump(include={"decades", "relative"}),
        observation=lambda wildcards: (
            protostar.benchmark.observations[wildcards.observation].model_dump()
            if wildcards.observation != AS_THEY_ARE
            else None
        ),
        seed=settings.seed,
    script:
        "../../scripts/protostar/measure_features.py"


rule measure_query:
    """Feature vectors of a query, and of the catalogue's images as the query was observed: crop, beam and noise."""
    input:
        shards=ANALOGUE_SHARDS,
        query="<results>/protostar/{query}/{channel}/query.npz",
        code=code("analogues.search"),
    output:
        members="<results>/protostar/{query}/{channel}/{network}/members.h5",
        query="<results>/protostar/{query}/{channel}/{network}/query.h5",
    log:
        "<logs>/measure_query/{query}/{channel}/{network}.log",
    benchmark:
        "<benchmarks>/measure_query/{query}/{channel}/{network}.tsv"
    wildcard_constraints:
        network="|".join(protostar.networks),
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=480,
        gpu=1,
    params:
        network=lambda wildcards: protostar.networks[wildcards.network].model_dump(),
        stretch=protostar.model_dump(include={"decades", "relative"}),
        seed=settings.seed,
    script:
        "../../scripts/protostar/measure_features.py"


rule train_head:
    """Teach a head which images belong to similar systems (§2.4.2), on frozen features of one view."""
    input:
        features="<results>/protostar/{view}/{channel}/{network}/members.h5",
        shards=ANALOGUE_SHARDS,
        code=code("learn.features.training", "analogues.features"),
    output:
        model="<results>/protostar/{view}/{channel}/{network}/{recipe}/seed{seed}/model.ckpt",
        history="<results>/protostar/{view}/{channel}/{network}/{recipe}/seed{seed}/history.csv",
        description="<results>/protostar/{view}/{channel}/{network}/{recipe}/seed{seed}/model.json",
    log:
        "<logs>/train_head/{view}/{channel}/{network}/{recipe}/seed{seed}.log",
    benchmark:
        "<benchmarks>/train_head/{view}/{channel}/{network}/{recipe}/seed{seed}.tsv"
    wildcard_constraints:
        network="|".join(protostar.networks),
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        head=protostar.head.model_dump(),
    script:
        "../../scripts/protostar/train_head.py"


rule rank_analogues:
    """Rank the catalogue by its distance to the query, and estimate the parameters from the analogues."""
    input:
        shards=ANALOGUE_SHARDS,
        members=lambda wildcards: features_of(wildcards.query, wildcards.channel),
        queries=lambda wildcards: features_of(wildcards.query, wildcards.channel, "query.h5"),
        heads=lambda wildcards: (
            heads_of(wildcards.query, wildcards.channel) if wildcards.channel == HEADLINE_CHANNEL else []
        ),
        truth=lambda wildcards: truth_of(wildcards.query),
        code=code("analogues.search"),
    output:
        ranking="<results>/protostar/{query}/{channel}/ranking.parquet",
        estimates="<results>/protostar/{query}/{channel}/estimates.csv",
    log:
        "<logs>/rank_analogues/{query}/{channel}.log",
    benchmark:
        "<benchmarks>/rank_analogues/{query}/{channel}.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        runtime=60,
    params:
        networks=protostar.use,
        recipes=protostar.head.recipes,
        search=protostar.model_dump(include={"metrics", "cut", "literal", "scale_features", "isotropic"}),
    script:
        "../../scripts/protostar/rank_analogues.py"


rule recover_split:
    """Known parameters of held-out images, recovered by plain features and by heads trained without them."""
    input:
        shards=ANALOGUE_SHARDS,
        features=f"<results>/protostar/benchmark/{{observation}}/{HEADLINE_CHANNEL}/{{network}}.h5",
        as_they_are=lambda wildcards: (
            []
            if wildcards.observation == AS_THEY_ARE
            else f"<results>/protostar/benchmark/{AS_THEY_ARE}/{HEADLINE_CHANNEL}/{wildcards.network}.h5"
        ),
        code=code("analogues.benchmark"),
    output:
        "<results>/protostar/benchmark/{observation}/{network}/{split_kind}.parquet",
    log:
        "<logs>/recover_split/{observation}/{network}/{split_kind}.log",
    benchmark:
        "<benchmarks>/recover_split/{observation}/{network}/{split_kind}.tsv"
    wildcard_constraints:
        network="|".join(protostar.networks),
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=480,
    params:
        benchmark=protostar.benchmark.model_dump(include={"n_folds", "n_queries"}),
        search=protostar.model_dump(include={"cut", "literal", "isotropic", "head"}),
        metric=protostar.metrics[0],
        seed=settings.seed,
    script:
        "../../scripts/protostar/recover_split.py"


rule tabulate_recovery:
    """Errors, rank correlations and coverage by split, method and parameter, between random and oracle."""
    input:
        rows=recoveries(),
        code=code("analogues.benchmark"),
    output:
        recovery="<results>/protostar/tables/recovery.csv",
        heads="<results>/protostar/tables/heads.csv",
    log:
        "<logs>/tabulate_recovery.log",
    benchmark:
        "<benchmarks>/tabulate_recovery.tsv"
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        networks=protostar.use,
    script:
        "../../scripts/protostar/tabulate_recovery.py"


rule find_true_snapshots:
    """How often the true snapshot ranks first, for members observed again with other noise."""
    input:
        shards=ANALOGUE_SHARDS,
        members="<results>/protostar/{query}/{channel}/{network}/members.h5",
        query="<results>/protostar/{query}/{channel}/query.npz",
        code=code("analogues.benchmark"),
    output:
        "<results>/protostar/{query}/{channel}/{network}/true_snapshots.csv",
    log:
        "<logs>/find_true_snapshots/{query}/{channel}/{network}.log",
    benchmark:
        "<benchmarks>/find_true_snapshots/{query}/{channel}/{network}.tsv"
    wildcard_constraints:
        network="|".join(protostar.networks),
    conda:
        "../../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=120,
    params:
        network=lambda wildcards: protostar.networks[wildcards.network].model_dump(),
        n_queries=protostar.benchmark.n_queries,
        metric=protostar.metrics[0],
        literal=protostar.literal,
        scale_features=protostar.scale_features,
        seed=settings.seed,
    script:
        "../../scripts/protostar/find_true_snapshots.py"


TARGETS["protostar"] = {
    "mocks": [ANALOGUE_SHARDS],
    "models": [
        heads_of(query, HEADLINE_CHANNEL) for query in QUERIES if HEADLINE_CHANNEL in channels_of(query)
    ],
    "catalogs": [rankings(query) for query in QUERIES],
}

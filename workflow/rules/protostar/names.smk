# Which files there are of the protostar line.

protostar = settings.protostar
SYSTEMS = (
    ["user"]
    if protostar.catalogue.files
    else [f"{number:03d}" for number in range(protostar.catalogue.n_systems)]
)
# Without an observed binary one is simulated, of a system that the catalogue does not have.
SIMULATED_QUERY = "simulated"
QUERIES = list(protostar.queries) or [SIMULATED_QUERY]
ANALOGUE_SHARDS = expand("<results>/protostar/catalogue/system{system}.h5", system=SYSTEMS)
HEADLINE_CHANNEL = protostar.channels[0]
AS_THEY_ARE = "noiseless"  # the catalogue's images themselves
OBSERVATIONS = [AS_THEY_ARE, *protostar.benchmark.observations]
# Unseen systems are what observations are compared on.
UNSEEN = [split for split in ("leave_one_system_out", "system") if split in protostar.benchmark.splits][:1]


wildcard_constraints:
    channel="|".join(protostar.channels),
    query="|".join(QUERIES),
    recipe="|".join(protostar.head.recipes) or "none",
    split_kind="|".join(protostar.benchmark.splits) or "none",
    system=r"\d{3}",
    view="|".join(QUERIES),
    observation="|".join(OBSERVATIONS),


def channels_of(query):
    """Channels in which a query was observed."""
    observed = protostar.queries.get(query)
    return list(observed.maps) if observed else protostar.channels


def map_of(wildcards):
    """The FITS map of a query in one channel."""
    observed = protostar.queries.get(wildcards.query)
    return (
        observed.maps[wildcards.channel]
        if observed
        else f"<results>/protostar/observation/{wildcards.channel}.fits"
    )


def truth_of(query):
    """What is true of the simulated query; nothing is known of an observed one."""
    return [] if query in protostar.queries else "<results>/protostar/observation/truth.json"


def features_of(query, channel, file="members.h5"):
    """Features of the catalogue, or of the query, by every network that is used."""
    return expand(
        "<results>/protostar/{view}/{channel}/{network}/{file}",
        view=query,
        channel=channel,
        network=protostar.use,
        file=file,
    )


def telescope_of(wildcards):
    """Files that say which baselines observed a query."""
    observed = protostar.queries.get(wildcards.query)
    return [file for file in (observed.uv, observed.antennas) if file] if observed else []


def recoveries():
    """Estimates of held-out images: every split of the catalogue as it is, unseen systems as observed."""
    path = "<results>/protostar/benchmark/{observation}/{network}/{split_kind}.parquet"
    return [
        expand(
            path,
            observation=observation,
            network=protostar.use,
            split_kind=protostar.benchmark.splits if observation == AS_THEY_ARE else UNSEEN,
        )
        for observation in OBSERVATIONS
    ]


def heads_of(query, channel):
    """Heads trained on a query's view of the catalogue: all networks, recipes and seeds."""
    return expand(
        "<results>/protostar/{view}/{channel}/{network}/{recipe}/seed{seed}/model.ckpt",
        view=query,
        channel=channel,
        network=protostar.use,
        recipe=protostar.head.recipes,
        seed=protostar.head.seeds,
    )


def rankings(query):
    """The ranked catalogue of a query, one file per channel."""
    return expand(
        "<results>/protostar/{query}/{channel}/ranking.parquet", query=query, channel=channels_of(query)
    )


def methods_of(kind):
    """Methods whose analogues a figure shows: plain networks, or those with a trained head."""
    if kind == "plain":
        return protostar.use
    return [f"{network}/{recipe}" for network in protostar.use for recipe in protostar.head.recipes]

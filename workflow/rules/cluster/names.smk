# Which files there are of the star cluster that hst looks at.
CLUSTER = settings.hst.cluster
EXPOSURES = CLUSTER.exposures() if CLUSTER else {}  # exposure → filter
FIELD = bool(CLUSTER) and not CLUSTER.frames  # a simulated field stands in
SEARCHED = [name for name, band in EXPOSURES.items() if band == CLUSTER.candidates.filter]
HST_PIXEL = 0.03962  # arcsec, WFC3/UVIS


wildcard_constraints:
    exposure="|".join(map(re.escape, EXPOSURES)) or "none",


def frame_of(exposure):
    """The file of an exposure: the user's, or a simulated one."""
    return "<results>/hst/frames/{}_flt.fits".format(exposure) if FIELD else CLUSTER.files()[exposure]


def true_psfs(exposure):
    """The PSFs that painted a simulated exposure, chip by chip."""
    chips = range(1, CLUSTER.field.chips + 1) if FIELD else []
    return [f"<results>/hst/frames/psf/{exposure}_{chip}.npz" for chip in chips]


def psf_settings(wildcards):
    """The arguments of the package's `frame_psf` for an exposure; only a search needs the error of a PSF."""
    given = CLUSTER.psf.model_dump(exclude={"files"})
    if wildcards.exposure not in SEARCHED:
        given["draws"] = 0
    return given | {"seed": seed_of("psf", wildcards.exposure)}


def psf_file(wildcards):
    """The file of the PSF of an exposure, where the settings name one."""
    return CLUSTER.psf.files.get(EXPOSURES[wildcards.exposure]) or []


def search_models():
    """The networks that search the cluster: the released ones, or those of the headline case, all seeds."""
    if settings.hst.released:
        return [released("hst", "compact.safetensors"), released("hst", "calibration.json")]
    hst = settings.hst
    folder = f"<results>/hst/{hst.headline}/{hst.train_networks[0]}"
    return [
        *expand("{folder}/seed{seed}/model.ckpt", folder=folder, seed=hst.seeds),
        f"{folder}/calibration.json",
    ]


def search_law():
    """What the search looks for: the population of the headline case."""
    hst = settings.hst
    return hst.cases[hst.headline].model_dump(exclude={"bank"}) | hst.sources.model_dump()


def search_thresholds():
    """What makes a candidate."""
    return CLUSTER.candidates.model_dump(exclude={"filter", "fit_above"})


def further_checks(wildcards):
    """Checks that the cluster line adds to those of the networks."""
    return ["<results>/hst/tables/cluster_checks.json"] if CLUSTER and wildcards.survey == "hst" else []

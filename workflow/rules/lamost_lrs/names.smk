# Which files the LRS line has.
lrs = settings.lamost_lrs
TARGETS["lamost_lrs"] = {}
LRS_SIMULATED = not lrs.spectra
# Stars that calibrate: those of the settings, or of the simulated survey, which has a sample for that.
LRS_CALIBRATION_STARS = (
    {
        "stars": "<results>/lamost_lrs/calibration_stars/files",
        "labels": "<results>/lamost_lrs/calibration_stars/catalogue.parquet",
    }
    if LRS_SIMULATED and not lrs.calibration
    else {"tables": [source.catalogue for source in lrs.calibration.values()]}
)
LRS_HOSTS = "<results>/lamost_lrs/survey/hosts.csv" if LRS_SIMULATED else lrs.hosts.path or []
LRS_CATALOGUE = "<results>/lamost_lrs/survey/catalogue.parquet" if LRS_SIMULATED else lrs.catalogue or []


# Stars that have photometry and a parallax are labelled by the HR diagram.
LRS_LABELS = "<results>/lamost_lrs/labels.parquet" if LRS_CATALOGUE else []
LRS_CALIBRATION = (
    "<results>/lamost_lrs/calibration.h5"
    if lrs.calibration or LRS_SIMULATED or not lrs.released
    else released("lamost_lrs", "calibration.h5")
)


def lrs_model(name):
    """A file of the models that observations are scored with: released, or of this run."""
    return released("lamost_lrs", name) if lrs.released else f"<results>/lamost_lrs/models/{name}"


def lrs_library_digest():
    """Names the folder of the library of low-resolution spectra."""
    facts = [lrs.library.model_dump(exclude={"variants"}), arm_facts("lamost_lrs"), settings.seed]
    return digest(facts)


def lrs_networks():
    """What scores observations: the released networks, or those of this run, all seeds."""
    if lrs.released:
        return [released("lamost_lrs", "dense.safetensors")]
    return expand(
        "<results>/lamost_lrs/{network}/seed{seed}/model.safetensors", network=lrs.network, seed=lrs.seeds
    )

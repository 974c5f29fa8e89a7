# Which files there are of the surveys that look at images.
import re

IMAGES = {"csst": settings.csst, "hst": settings.hst}
CELL_AXES = "snr|sep|jitter|wfe"
NUMBER = r"m?\d+(p\d+)?"
OTHER_PSF = ("jitter", "wfe")  # axes whose stamps have another PSF than the one assumed
IMAGE_NETWORKS = "|".join({network for images in IMAGES.values() for network in images.networks})


wildcard_constraints:
    axis=CELL_AXES,
    bank="|".join({bank for images in IMAGES.values() for bank in images.banks}),
    case="|".join({case for images in IMAGES.values() for case in images.cases}),
    cell=f"test|({CELL_AXES}){NUMBER}",
    sample=f"test|{CELL_AXES}",
    survey="|".join(IMAGES),
    value=NUMBER,


def images_of(wildcards):
    """Settings of the survey that a job belongs to."""
    return IMAGES[wildcards.survey]


def law_of(wildcards):
    """What is drawn in a case: the arguments of the package's `Law`."""
    images = images_of(wildcards)
    return images.cases[wildcards.case].model_dump(exclude={"bank"}) | images.sources.model_dump()


def seed_of(*parts):
    """A seed of its own for everything that has a name; cases share theirs, so that their stamps can be paired."""
    return int(digest([settings.seed, *parts])[:8], 16)


def fitted_psf(wildcards):
    """The PSF fitted to the stars of the frames, where the settings ask for it."""
    stars = images_of(wildcards).psf.source == "stars"
    return f"<results>/{wildcards.survey}/psf/stars.npz" if stars else []


def bank_of(wildcards, split=None):
    """PSFs of a split: networks are trained with those of their case, and tested with the nominal one."""
    bank = images_of(wildcards).cases[wildcards.case].bank
    return (
        f"<results>/{wildcards.survey}/psf/{'nominal' if (split or wildcards.split) == 'test' else bank}.npz"
    )


def bank_unless_known(wildcards):
    """The PSFs that an observer reckons with, in cases whose networks do not take the PSF for known either."""
    images, case = images_of(wildcards), images_of(wildcards).cases[wildcards.case]
    unknown = images.banks[case.bank].members > 1 and case.placement == "photocentre_random"
    return bank_of(wildcards, "train") if unknown and images.mocks.n_unknown_psf else []


def cell_psf(survey, cell):
    """The PSF that the stamps of a cell (or of the test sample) have."""
    return f"<results>/{survey}/psf/{cell if cell.startswith(OTHER_PSF) else 'nominal'}.npz"


def parted(cell):
    """A cell's axis and value: snr55 → snr, 55; the test sample has no value."""
    axis = re.match(f"test|{CELL_AXES}", cell)[0]
    return axis, None if axis == "test" else parse_number(cell.removeprefix(axis))


def what_a_cell_fixes(wildcards):
    """The arguments of the package's `draw_sources` by which a cell differs from the test sample."""
    return {} if wildcards.axis in OTHER_PSF else {wildcards.axis: parse_number(wildcards.value)}


def weights_of(wildcards):
    """The file of pretrained weights, where the settings name one."""
    weights = images_of(wildcards).networks[wildcards.network].layers.weights
    return [] if weights in (None, "none", "hub") else weights


def cells(survey, sample):
    """Names of the cells of a sample: test, or snr30, snr55, …"""
    if sample == "test":
        return ["test"]
    return [f"{sample}{format_number(value)}" for value in IMAGES[survey].grids[sample].values]


def cell_stamps(survey, case, cell):
    """The stamps of a cell."""
    folder = f"<results>/{survey}/mocks/{case}"
    return f"{folder}/test.h5" if cell == "test" else f"{folder}/grid/{cell}.h5"


def sample_stamps(wildcards):
    """The stamps of all cells of a sample."""
    return [
        cell_stamps(wildcards.survey, wildcards.case, cell)
        for cell in cells(wildcards.survey, wildcards.sample)
    ]


def sample_values(wildcards):
    """The values of the cells of a sample, one for each of its stamp files."""
    return [parted(cell)[1] for cell in cells(wildcards.survey, wildcards.sample)]


def samples(survey, case):
    """What a case is tested on: the test stamps, and the axes of the grid that list it."""
    return [
        "test",
        *(axis for axis, grid in IMAGES[survey].grids.items() if grid.values and case in grid.cases),
    ]


def image_models(survey, file="model.ckpt", cases=None):
    """A file of the models of a survey: all networks and seeds that are trained."""
    return expand(
        "<results>/{survey}/{case}/{network}/seed{seed}/{file}",
        survey=survey,
        case=cases or IMAGES[survey].train_cases,
        network=IMAGES[survey].train_networks,
        seed=IMAGES[survey].seeds,
        file=file,
    )


def image_scores(survey, wanted=None):
    """Scores of all models of a survey, on every sample of their case or on those that are wanted."""
    return [
        score
        for case in IMAGES[survey].train_cases
        for sample in samples(survey, case)
        for score in image_models(survey, f"scores/{sample}.parquet", [case])
        if wanted in (None, sample)
    ]


def image_optima(survey, wanted=None):
    """What the optimum says of the same stamps."""
    return [
        f"<results>/{survey}/mocks/{case}/optimum/{cell}.parquet"
        for case in IMAGES[survey].train_cases
        for sample in samples(survey, case)
        for cell in cells(survey, sample)
        if wanted in (None, sample)
    ]


def image_mocks(survey):
    """All stamps of a survey: test sets and grids, and what training needs beside its fresh mocks."""
    splits = ["validation"] if IMAGES[survey].mocks.fresh else ["train", "validation"]
    return [
        *expand(
            "<results>/{survey}/mocks/{case}/{split}.h5",
            survey=survey,
            case=IMAGES[survey].train_cases,
            split=splits,
        ),
        *(
            cell_stamps(survey, case, cell)
            for case in IMAGES[survey].train_cases
            for sample in samples(survey, case)
            for cell in cells(survey, sample)
        ),
    ]


def merits_figures(survey):
    """Figures of the merits that a survey's cases and grids have something to show for: name → label and caption."""
    images = IMAGES[survey]
    axes = {axis for case in images.train_cases for axis in samples(survey, case)[1:]}
    unequal = any(images.cases[case].flux_ratio == "uniform" for case in images.train_cases)
    figures = {
        "accuracy_snr": ("accuracy along the S/N", "image_accuracy") if "snr" in axes else None,
        "accuracy_sep": ("accuracy along the separation", "image_accuracy") if "sep" in axes else None,
        "recall_map": ("separation and flux ratio", "recall_map") if unequal else None,
        "psf_mismatch": ("errors of the PSF", "psf_mismatch") if axes & set(OTHER_PSF) else None,
    }
    return {name: words for name, words in figures.items() if words}


def calibrations(survey):
    """The calibrations of all networks of a survey."""
    return sorted({str(Path(path).parent.parent / "calibration.json") for path in image_models(survey)})


def stamp_networks(survey):
    """What scores stamps: the released networks, or those of the case that predictions go by."""
    images = IMAGES[survey]
    if images.released:
        return [released(survey, "compact.safetensors"), released(survey, "calibration.json")]
    folder = f"<results>/{survey}/{images.headline}/{images.train_networks[0]}"
    return [
        *expand("{folder}/seed{seed}/model.ckpt", folder=folder, seed=images.seeds),
        f"{folder}/calibration.json",
    ]


def release_case(wildcards):
    """The case of a camera that is released."""
    return images_of(wildcards).cases[images_of(wildcards).headline]

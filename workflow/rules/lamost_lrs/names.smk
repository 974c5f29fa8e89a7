# Which files the LRS line has.
lrs = settings.lamost_lrs
TARGETS["lamost_lrs"] = {}
LRS_SIMULATED = not lrs.spectra


def lrs_library_digest():
    """Names the folder of the library of low-resolution spectra."""
    facts = [lrs.library.model_dump(exclude={"variants"}), arm_facts("lamost_lrs"), settings.seed]
    return digest(facts)


def lrs_networks(network="dense"):
    """Trained networks of one kind, all seeds."""
    return expand(
        "<results>/lamost_lrs/{network}/seed{seed}/model.safetensors", network=network, seed=lrs.seeds
    )

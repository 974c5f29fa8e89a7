# What mocks are made from: stellar tracks and libraries of model spectra, shared by all presets.


rule build_tracks:
    """Tabulate stellar tracks: analytic ones, or MIST through isochrones."""
    input:
        code=code("stars.tracks"),
    output:
        "resources/tracks/{source}.npz",
    log:
        "<logs>/build_tracks/{source}.log",
    benchmark:
        "<benchmarks>/build_tracks/{source}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        tracks=settings.tracks.model_dump(),
    script:
        "../scripts/build_tracks.py"


rule build_library:
    """Synthesize (or read) a grid of model spectra; variants above 0 have jittered line strengths."""
    input:
        code=code("libraries.sources"),
        lines=(
            [settings.library.linelist]
            if settings.library.linelist
            else sorted(map(str, PACKAGE.glob("synthesis/data/*")))
        ),
        files=[*settings.library.files, *filter(None, [settings.library.wave_file])],
    output:
        "<library>/variant{variant}.h5",
    log:
        "<logs>/build_library/variant{variant}.log",
    benchmark:
        "<benchmarks>/build_library/variant{variant}.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        library=settings.library.model_dump(exclude={"variants", *AXES}),
        axes={name: nodes(getattr(settings.library, name)) for name in AXES},
        arms=arm_facts("lamost_mrs"),
        seed=settings.seed,
    script:
        "../scripts/build_library.py"


use rule build_library as build_lrs_library with:
    input:
        code=code("libraries.sources"),
        lines=(
            [lrs.library.linelist]
            if lrs.library.linelist
            else sorted(map(str, PACKAGE.glob("synthesis/data/*")))
        ),
        files=[*lrs.library.files, *filter(None, [lrs.library.wave_file])],
    output:
        "<lrs_library>/variant{variant}.h5",
    log:
        "<logs>/build_lrs_library/variant{variant}.log",
    benchmark:
        "<benchmarks>/build_lrs_library/variant{variant}.tsv"
    params:
        library=lrs.library.model_dump(exclude={"variants", *AXES}),
        axes={name: nodes(getattr(lrs.library, name)) for name in AXES},
        arms=arm_facts("lamost_lrs"),
        seed=settings.seed,


rule build_photometry:
    """Integrate G, BP, RP and Ks over the library of low-resolution spectra, zero-pointed at the Sun."""
    input:
        library="<lrs_library>/variant0.h5",
        code=code("libraries.photometry"),
    output:
        "<lrs_library>/photometry.h5",
    log:
        "<logs>/build_photometry.log",
    benchmark:
        "<benchmarks>/build_photometry.tsv"
    conda:
        "../../envs/environment.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    script:
        "../scripts/lamost_lrs/build_photometry.py"

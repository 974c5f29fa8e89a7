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
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        tracks=settings.tracks.model_dump(),
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/build_tracks.py"


rule build_library:
    """Synthesize (or read) a grid of model spectra; variants above 0 have jittered line strengths."""
    input:
        code=code("spectra.build", "spectra.inputs"),
        lines=sorted(map(str, PACKAGE.glob("spectra/data/*.csv"))),
    output:
        "<library>/variant{variant}.h5",
    log:
        "<logs>/build_library/variant{variant}.log",
    benchmark:
        "<benchmarks>/build_library/variant{variant}.tsv"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        library=settings.library.model_dump(exclude={"variants"}),
        arms=arm_facts("lamost_mrs"),
        seed=settings.seed,
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/build_library.py"

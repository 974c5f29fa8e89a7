# Observed spectra of the LAMOST surveys, shared out over shards; every later stage works on one shard at a time.
OBSERVED = {
    "lamost_mrs": {
        "spectra": mrs.spectra,
        "simulated": NIGHT,
        **mrs.ingest.model_dump(include={"files_per_shard", "exposures_per_shard"}),
    },
    "lamost_lrs": {
        "spectra": lrs.spectra,
        "simulated": "<results>/lamost_lrs/survey/files" if LRS_SIMULATED else [],
        "files_per_shard": lrs.files_per_shard,
        "exposures_per_shard": None,  # a file has one spectrum
    },
}

for survey, given in OBSERVED.items():

    checkpoint:
        """Share the files out over shards: new files make new shards, old shards stay as they are."""
        name:
            f"plan_{survey}_shards"
        input:
            simulated=given["simulated"],
            code=code("lamost.inputs"),
        output:
            plan=f"<results>/{survey}/ingest/plan.json",
            # What has been planned stays planned; a simulated survey starts afresh.
            manifest=(str if given["simulated"] else update)(f"<results>/{survey}/ingest/manifest.json"),
        log:
            f"<logs>/plan_shards/{survey}.log",
        benchmark:
            f"<benchmarks>/plan_shards/{survey}.tsv"
        conda:
            "../../envs/environment.yaml"
        threads: 1
        resources:
            mem_mb=lambda wildcards, attempt: 4000 * attempt,
            runtime=lambda wildcards, attempt: 240 * attempt,  # reads every file once, .5 GB a second
        params:
            spectra=given["spectra"],
            files_per_shard=given["files_per_shard"],
            exposures_per_shard=given["exposures_per_shard"],
            files=lambda wildcards, patterns=tuple(given["spectra"]): files_seen(patterns),
        script:
            "../scripts/plan_shards.py"

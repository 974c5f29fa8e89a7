# Shards and a catalogue, small enough that only SLURM and Snakemake take time: what test_drill.py disturbs.
import sys

SHARDS = [f"{number:06d}" for number in range(int(config["shards"]))]


rule catalogue:
    input:
        expand("shard{shard}.txt", shard=SHARDS),
    output:
        "catalogue.txt",
    resources:
        mem_mb=500,
    shell:
        "cat {input} > {output}.part && mv {output}.part {output}"


rule shard:
    output:
        "shard{shard}.txt",
    group:
        "shards"
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=1,
    params:
        python=sys.executable,
        job=f"{workflow.basedir}/drill_job.py",
    shell:
        "{params.python} {params.job} {wildcards.shard} {output} {resources.mem_mb}"

"""Runs Snakemake in forks of one process that has imported it: what `python -m snakemake` does, a second sooner.

Reads requests from its standard input, one JSON object a line: cwd, environment, arguments, output, error (files) and
seconds. Answers each with a line: Snakemake's exit status.
"""

import json
import os
import runpy
import signal
import sys

import pandas  # noqa: F401  (what Snakemake and the settings import; never our package, which every test has its own of)
import pyarrow.parquet  # noqa: F401
import pydantic  # noqa: F401
import snakemake.cli  # noqa: F401


def start(request: dict) -> int:
    """Become Snakemake in a child; returns its exit status."""
    child = os.fork()
    if child == 0:
        signal.alarm(request["seconds"])
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.path[0:1] = [request["cwd"], *os.environ["PYTHONPATH"].split(os.pathsep)]
        for number, name in enumerate((os.devnull, request["output"], request["error"])):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o644), number)
        sys.argv = ["snakemake", *request["arguments"]]
        try:
            runpy.run_module("snakemake", run_name="__main__")
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    for line in sys.stdin:
        print(start(json.loads(line)), flush=True)

"""Runs Snakemake, keeps all that it says in a log, and shows only what it is doing and how far it is.

python workflow/quietly.py LOG -- snakemake …        exits as Snakemake does; after a failure its errors are shown
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

EVERY = 20.0  # seconds between two lines where no terminal overwrites them
ERRORS = re.compile(r"^\s*(Error|Exception|WorkflowError|\w+Error|LockException|MissingInput|ChecksFailed)\b")
SHOWN = 60  # lines of errors; the log has all


def main(arguments: list[str]) -> int:
    """Run the command behind `--`; returns its exit status."""
    log, command = Path(arguments[0]), arguments[arguments.index("--") + 1 :]
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"{' '.join(command)}\n  all that it says is kept in {log}")
    with (
        open(log, "w", encoding="utf-8") as kept,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace"
        ) as process,
    ):
        try:
            lines = _tee(process.stdout, kept)
            errors = follow(lines)
        except KeyboardInterrupt:  # Snakemake has had it too and stops its jobs
            errors = []
            print("\nstopping; run the same command again to go on from here")
        status = process.wait()
    if status:
        print("\n".join(errors[:SHOWN]) or f"failed; see {log}")
        print(f"exit status {status}; the whole log: {log}")
    return status


def _tee(stream, kept) -> Iterator[str]:
    for line in stream:
        kept.write(line)
        kept.flush()
        yield line.rstrip("\n")


def follow(lines: Iterator[str], out=sys.stdout) -> list[str]:
    """Show progress from the lines of Snakemake's log as they come; returns the errors among them."""
    terminal, started, shown = out.isatty(), time.monotonic(), float("-inf")
    done, total, job, errors, failing = 0, 0, "planning", [], False
    for line in lines:
        if found := re.match(r"(?:local)?(?:rule|checkpoint) (\w+):", line):
            job = found[1]
        elif found := re.match(r"\s+wildcards: (.*)", line):
            job = f"{job.split(' (')[0]} ({found[1]})"
        elif found := re.match(r"total\s+(\d+)$", line):
            total = max(total, int(found[1]))
        elif found := re.match(r"(\d+) of (\d+) steps", line):
            done, total = int(found[1]), int(found[2])
        failing = bool(ERRORS.match(line)) or (failing and line.startswith((" ", "\t")) and len(line.strip()) > 0)
        if failing:
            errors.append(line)
        now = time.monotonic()
        if total and (terminal or now - shown > EVERY):
            shown = now
            said = f"{(now - started) / 60:5.1f} min  {done:4d} of {total} jobs ({100 * done // total:3d} %)  {job}"
            print(f"\r\033[K{said[:110]}" if terminal else said, end="" if terminal else "\n", file=out, flush=True)
    minutes = (time.monotonic() - started) / 60
    end = f"{minutes:5.1f} min  {done} of {total} jobs done" if total else "nothing to be done"
    print(f"\r\033[K{end}" if terminal else end, file=out, flush=True)
    return errors


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

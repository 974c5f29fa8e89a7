"""Damages files of every input kind at random, reads them as a user would, and sorts what comes back.

    python tests/fuzz/runner.py --number 2000 --seed 1

refused: an error that names the file · same: within tolerance of the sound file · flagged: other numbers, with a flag
SILENT: other numbers without a word · LOST: something of the file is gone without a row · NAMELESS: an error that does
not say which file · CRASH: an error that nobody meant to raise · HANG: no answer in a minute
"""

import argparse
import logging
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

GOOD = ("refused", "same", "flagged")
BAD = ("SILENT", "LOST", "NAMELESS", "CRASH", "HANG")
PATIENCE = 60  # s
Mutation = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True)
class Verdict:
    """What became of one damaged file: a word of GOOD or BAD, how far numbers moved, and why."""

    word: str
    moved: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class Kind:
    """One kind of input: `content` of a sound file called `name`, what may happen to it, and how it is read.

    `read` (path) → name → numbers, or an error; those of `errors` that name the file are refusals. `flagged` (result)
    says whether the result itself speaks of trouble. `tolerance` is relative to the spread of the sound numbers.
    """

    kind: str
    name: str
    content: bytes
    mutations: Mapping[str, Mutation]
    read: Callable[[Path], Mapping[str, np.ndarray]]
    errors: tuple[type[BaseException], ...] = (ValueError, OSError)
    flagged: Callable[[Mapping], bool] = lambda result: False
    tolerance: float = 1e-3
    judge_all: Callable[[Path, Mapping[str, bytes]], Mapping[str, Verdict]] | None = None
    share: float = 1.0  # of the files of other kinds: less where each costs seconds


# --- damage that may come to any file --------------------------------------------------------------------------------


def truncated(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(0, len(content)))]


def emptied(content: bytes, rng: np.random.Generator) -> bytes:
    return b""


def foreign(content: bytes, rng: np.random.Generator) -> bytes:
    return (
        bytes(rng.choice([b"<!DOCTYPE html>", b"\x89PNG\r\n", b"PK\x03\x04", b"%PDF-1.7", b"\x1f\x8b\x08\x00"]))
        + content[:9000]
    )


def noise(content: bytes, rng: np.random.Generator) -> bytes:
    return rng.integers(0, 256, min(len(content), 40_000), dtype=np.uint8).tobytes()


def block_lost(content: bytes, rng: np.random.Generator, size: int = 2880) -> bytes:
    start = int(rng.integers(0, max(1, len(content) // size))) * size
    return content[:start] + content[start + size :]


def start_overwritten(content: bytes, rng: np.random.Generator) -> bytes:
    return rng.integers(0, 256, 64, dtype=np.uint8).tobytes() + content[64:]


ANY: dict[str, Mutation] = {
    "truncated": truncated, "emptied": emptied, "foreign": foreign, "noise": noise, "block lost": block_lost,
    "start overwritten": start_overwritten,
}  # fmt: skip


def bits_flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """For formats with a checksum: anywhere in the file."""
    damaged = np.frombuffer(content, np.uint8).copy()
    for place in rng.integers(0, len(damaged), int(rng.integers(1, 9))):
        damaged[place] ^= 1 << int(rng.integers(8))
    return damaged.tobytes()


# --- reading and judging ---------------------------------------------------------------------------------------------


class NoAnswer(BaseException):
    """Nothing came back in time; no reader may take it for damage."""


@contextmanager
def patience(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise NoAnswer

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def judge(kind: Kind, path: Path, sound: Mapping[str, np.ndarray]) -> Verdict:
    """Read one damaged file and say what came back."""
    try:
        with patience(PATIENCE):
            result = kind.read(path)
    except NoAnswer:
        return Verdict("HANG")
    except kind.errors as error:
        text = str(error)
        named = path.name in text or path.stem in text or str(path.parent) in text
        frames = traceback.extract_tb(error.__traceback__)
        meant = "dioscuri" in frames[-1].filename or type(error).__module__.startswith("dioscuri")
        if not named:
            return Verdict("NAMELESS" if meant else "CRASH", detail=f"{type(error).__name__}: {text[:150]}")
        return Verdict("refused")
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Verdict(
            "CRASH", detail=f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"[:200]
        )
    return compare(kind, result, sound)


def compare(kind: Kind, result: Mapping[str, np.ndarray], sound: Mapping[str, np.ndarray]) -> Verdict:
    """The same numbers, or others with or without a flag."""
    moved, word = 0.0, ""
    for name, expected in sound.items():
        if name not in result:
            moved, word = np.inf, f"no {name}"
            break
        found, expected = np.asarray(result[name]), np.asarray(expected)
        if found.shape != expected.shape:
            moved, word = np.inf, f"{name}: {found.shape} instead of {expected.shape}"
            break
        if expected.dtype.kind in "OUSb":
            different = float((found != expected).any())
        else:
            spread = float(np.ptp(expected[np.isfinite(expected)])) or float(np.abs(expected).max()) or 1.0
            same_gaps = np.isfinite(found) == np.isfinite(expected)
            gap = np.abs(np.where(np.isfinite(expected) & np.isfinite(found), found - expected, 0.0)).max(initial=0.0)
            different = np.inf if not same_gaps.all() else float(gap / spread)
        if different > moved:
            moved, word = different, name
    if moved <= kind.tolerance:
        return Verdict("same", moved)
    return Verdict("flagged" if kind.flagged(result) else "SILENT", moved, word)


def fuzz(kinds: list[Kind], number: int, seed: int) -> tuple[dict[str, Counter], dict[str, list[str]], float]:
    """Judge about `number` damaged files: kind → words, kind → what was bad, and the largest deviation accepted."""
    words: dict[str, Counter] = defaultdict(Counter)
    troubles: dict[str, list[str]] = defaultdict(list)
    accepted = 0.0
    for kind in kinds:
        share = max(1, round(kind.share * number / len(kinds)))
        with tempfile.TemporaryDirectory() as folder:
            for title, verdict in judged(kind, Path(folder), share, seed):
                words[kind.kind][verdict.word] += 1
                if verdict.word in BAD:
                    troubles[kind.kind].append(f"{title}: {verdict.word} {verdict.moved:.3g} {verdict.detail}")
                elif verdict.word == "same":
                    accepted = max(accepted, verdict.moved)
    return words, troubles, accepted


def judged(kind: Kind, folder: Path, number: int, seed: int) -> Iterator[tuple[str, Verdict]]:
    """Each damaged file of one kind, with the name of its mutation."""
    names = [str(name) for name in np.random.default_rng(seed).permutation(list(kind.mutations))]
    contents = {}
    for k in range(number):
        rng = np.random.default_rng([seed, k, len(kind.kind)])
        title = names[k % len(names)]
        contents[f"{k:04d} {title}"] = kind.mutations[title](kind.content, rng)
    if kind.judge_all is not None:
        yield from kind.judge_all(folder, contents).items()
        return
    path = folder / kind.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(kind.content)
    sound = {name: np.asarray(values).copy() for name, values in kind.read(path).items()}
    for title, content in contents.items():
        path.write_bytes(content)
        yield title, judge(kind, path, sound)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", help="only this one")
    options = parser.parse_args()
    from kinds import all_kinds

    warnings.simplefilter("ignore")
    logging.disable()

    with tempfile.TemporaryDirectory() as folder:
        kinds = all_kinds(Path(folder), options.kind)
        words, troubles, accepted = fuzz(kinds, options.number, options.seed)
    print(f"{'kind':14s}" + "".join(f"{word:>10s}" for word in (*GOOD, *BAD)))
    for name, counts in words.items():
        print(f"{name:14s}" + "".join(f"{counts[word]:10d}" for word in (*GOOD, *BAD)))
    total = sum(words.values(), Counter())
    print(f"{'all':14s}" + "".join(f"{total[word]:10d}" for word in (*GOOD, *BAD)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{total.total()} files; largest deviation accepted {accepted:.2g}; {peak:.2f} GiB at most")
    for name, lines in troubles.items():
        print(f"\n{name}", *lines, sep="\n  ")
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())

"""Prepared queries on disk: one .npz each."""

import json
import os
import zipfile
from dataclasses import fields

import numpy as np

from dioscuri.analogues.observation.query import Query
from dioscuri.io import atomic

SCHEMA = "dioscuri/query/2"
ARRAYS = ("image", "missing", "extra", "kept")


def save_query(path: str | os.PathLike, query: Query) -> None:
    """Write a query, whole or not at all."""
    about = {one.name: getattr(query, one.name) for one in fields(Query) if one.name not in ARRAYS}
    with atomic(path) as temporary, open(temporary, "wb") as stream:
        np.savez(
            stream, about=json.dumps({"schema": SCHEMA, **about}), **{name: getattr(query, name) for name in ARRAYS}
        )


def load_query(path: str | os.PathLike) -> Query:
    """Read what `save_query` wrote; any other file is a ValueError."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            if about.pop("schema", None) != SCHEMA:
                raise ValueError("another schema")
            about["beam_au"] = tuple(about["beam_au"])
            return Query(**about, **{name: stored[name] for name in ARRAYS})
    except (ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: expected a prepared query ('{SCHEMA}'), found {error}; make it again") from error

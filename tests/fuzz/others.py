"""All other kinds of input: frames, stamps, PSFs, maps, grids of spectra, tracks, line lists, models, shards."""

import importlib.util
import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pandas as pd
import torch
from astropy.io import fits
from damage import edited
from runner import ANY, Kind, Mutation, bits_flipped

from dioscuri import shards
from dioscuri.analogues.observation.fits_maps import read_fits
from dioscuri.cluster.frames import read_flt, write_flt
from dioscuri.learn.spectra.models import load_model, load_released, save_released
from dioscuri.libraries.ferre import read_ferre
from dioscuri.predict.csst import read_all
from dioscuri.psf.effective import Psf
from dioscuri.psf.files import read_psf
from dioscuri.psf.grids import read_stdpsf
from dioscuri.stars.mist import _read_track
from dioscuri.synthesis.lines import read_linelist

UNIT = Path(__file__).resolve().parent.parent / "unit"


def helper(name: str) -> ModuleType:
    """A module of helpers of the unit tests."""
    spec = importlib.util.spec_from_file_location(name, UNIT / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cards(*changes: tuple[int, str, object]) -> Mutation:
    """One of the header cards (HDU, key, value; None: taken out) is changed."""

    def mutation(content: bytes, rng: np.random.Generator) -> bytes:
        number, key, value = changes[int(rng.integers(len(changes)))]
        with fits.open(io.BytesIO(content), memmap=False) as hdus:
            if value is None:
                hdus[number].header.remove(key, ignore_missing=True)
            else:
                hdus[number].header[key] = value
            hdus.writeto(out := io.BytesIO(), output_verify="ignore")
        return out.getvalue()

    return mutation


def pixels(number: int, change: Callable[[np.ndarray], np.ndarray]) -> Mutation:
    def edit(hdus: fits.HDUList, rng: np.random.Generator) -> None:
        hdus[number].data = change(hdus[number].data)

    return edited(edit)


def lines(change: Callable[[list[bytes], np.random.Generator], list[bytes]]) -> Mutation:
    """The lines of a text file are changed."""
    return lambda content, rng: b"\n".join(change(content.split(b"\n"), rng))


def a_line(text: list[bytes], rng: np.random.Generator) -> int:
    return int(rng.integers(1, len(text) - 2))


def words(*pairs: tuple[bytes, bytes]) -> Mutation:
    def mutation(content: bytes, rng: np.random.Generator) -> bytes:
        old, new = pairs[int(rng.integers(len(pairs)))]
        return content.replace(old, new, 1)

    return mutation


def lost(text: list[bytes], rng: np.random.Generator) -> list[bytes]:
    k = a_line(text, rng)
    return text[:k] + text[k + 1 :]


def doubled(text: list[bytes], rng: np.random.Generator) -> list[bytes]:
    k = a_line(text, rng)
    return text[:k] + text[k - 1 :]


def cut(text: list[bytes], rng: np.random.Generator) -> list[bytes]:
    k = a_line(text, rng)
    return [*text[:k], text[k][: len(text[k]) // 2], *text[k + 1 :]]


def garbled(text: list[bytes], rng: np.random.Generator) -> list[bytes]:
    k = a_line(text, rng)
    return [*text[:k], text[k].replace(b".", b"?"), *text[k + 1 :]]


def not_a_number(text: list[bytes], rng: np.random.Generator) -> list[bytes]:
    k = a_line(text, rng)
    fields = text[k].split() or [b""]
    fields[int(rng.integers(len(fields)))] = b"nan"
    return [*text[:k], b" " + b" ".join(fields), *text[k + 1 :]]


ROWS = {"row lost": lines(lost), "row doubled": lines(doubled), "row cut": lines(cut), "row garbled": lines(garbled)}
FITS_ANY = {**ANY, "NAXIS1": cards((-1, "NAXIS1", 7)), "no END": lambda c, rng: c.replace(b"END  ", b"EN?  ", 1)}


def frames(folder: Path) -> Kind:
    scenes = helper("cluster_frames")
    stars = pd.DataFrame({"x": [30.0, 70.0], "y": [40.0, 60.0], "flux": [9000.0, 4000.0]})
    write_flt(path := folder / "icaa01x1q_flt.fits", [scenes.frame_of(stars, (100, 100))])

    def read(path: Path) -> dict[str, np.ndarray]:
        (frame,) = read_flt(path)
        good = ~frame.bad()
        exposure = np.array([frame.exposure_time, frame.pixel_scale])
        return {"science": np.where(good, frame.science, np.nan), "sky": frame.wcs.wcs.crval, "exposure": exposure}

    def without(name: str) -> Mutation:
        def edit(hdus: fits.HDUList, rng: np.random.Generator) -> None:
            del hdus[name]

        return edited(edit)

    def drizzled(hdus: fits.HDUList, rng: np.random.Generator) -> None:
        hdus.append(fits.ImageHDU(np.ones((100, 100)), name="WHT"))

    mutations = {
        **FITS_ANY,
        "no ERR": without("ERR"),
        "no DQ": without("DQ"),
        "no SCI": without("SCI"),
        "drizzled": edited(drizzled),
        "ERR NaN": pixels(2, lambda d: d * np.nan),
        "ERR negative": pixels(2, lambda d: -d),
        "SCI NaN": pixels(1, lambda d: d * np.nan),
        "SCI smaller": pixels(1, lambda d: d[:50]),
        "SCI cube": pixels(1, lambda d: d[None].repeat(2, 0)),
        "ERR smaller": pixels(2, lambda d: d[:, :50]),
        "header": cards(
            (0, "EXPTIME", 0.0),
            (0, "EXPTIME", "x"),
            (0, "FILTER", ""),
            (1, "BUNIT", "COUNTS/S"),
            (1, "CD1_1", "x"),
            (1, "CTYPE1", "LINEAR"),
            (1, "CD1_1", 0.0),
            (1, "CCDCHIP", "x"),
            (1, "EXTVER", 3),
            (0, "NDRIZIM", 4),
        ),
    }
    return Kind("flt frames", path.name, path.read_bytes(), mutations, read)


def stamps(folder: Path) -> Kind:
    images = np.random.default_rng(1).normal(10, 1, (5, 14, 14))
    with h5py.File(folder / "stamps.h5", "w") as stream:
        stream["stamps"] = images

    def rewritten(write: Callable[[h5py.File], None]) -> Mutation:
        def mutation(content: bytes, rng: np.random.Generator) -> bytes:
            with h5py.File(out := io.BytesIO(), "w") as stream:
                write(stream)
            return out.getvalue()

        return mutation

    def external(stream: h5py.File) -> None:
        stream.create_dataset("stamps", (5, 14, 14), "f8", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])

    def put(values: object) -> Callable[[h5py.File], None]:
        return lambda stream: stream.create_dataset("stamps", data=values) and None

    def link(stream: h5py.File) -> None:
        stream["stamps"] = h5py.ExternalLink("/etc/hostname", "x")

    def huge(stream: h5py.File) -> None:
        stream.create_dataset("stamps", (10**7, 14, 140), "f8", chunks=(1, 14, 14))

    def read(path: Path) -> dict[str, np.ndarray]:
        _, found, refused = read_all([path])
        if refused or not found:
            raise ValueError(f"{refused[0]['file']}: {refused[0]['status']}")
        return {"stamps": np.stack(found)}

    mutations = {
        **ANY,
        "group": rewritten(lambda s: s.create_group("stamps") and None),
        "external": rewritten(external),
        "link": rewritten(link),
        "soft link": rewritten(lambda s: s.__setitem__("stamps", h5py.SoftLink("/nowhere"))),
        "flat": rewritten(put(images[0, 0])),
        "text": rewritten(put(np.array([b"abc"] * 5))),
        "huge": rewritten(huge),
        "NaN": rewritten(put(images * np.nan)),
        "empty set": rewritten(put(images[:0])),
        "small": rewritten(put(images[:, :5])),
    }
    return Kind("stamps HDF5", "stamps.h5", (folder / "stamps.h5").read_bytes(), mutations, read)


def psf_image(folder: Path) -> Kind:
    samples = helper("cluster_frames").gaussian()
    fits.PrimaryHDU(samples).writeto(path := folder / "star.fits")

    def read(path: Path) -> dict[str, np.ndarray]:
        return {"samples": read_psf(path, oversampling=4, pixel_scale=0.04, pixel_integrated=True).samples}

    mutations = {
        **FITS_ANY,
        "NaN": pixels(0, lambda d: np.where(d == d.max(), np.nan, d)),
        "flat": pixels(0, lambda d: d * 0 + 1),
        "negative": pixels(0, lambda d: -d),
        "line": pixels(0, lambda d: d[0]),
        "zero": pixels(0, lambda d: d * 0),
    }
    return Kind("PSF images", path.name, path.read_bytes(), mutations, read)


def psf_grid(folder: Path) -> Kind:
    header = fits.Header({"NXPSFS": 2, "NYPSFS": 2, "IPSFX01": 1, "IPSFX02": 4096, "JPSFY01": 1, "JPSFY02": 4096})
    grid = np.stack([helper("cluster_frames").gaussian(0.8 + 0.02 * k) for k in range(4)])
    fits.PrimaryHDU(grid, header).writeto(path := folder / "STDPSF_WFC3UV_F814W.fits")

    def read(path: Path) -> dict[str, np.ndarray]:
        psf = read_stdpsf(path)
        return {"samples": psf.samples, "x": psf.parameters["x"]}

    mutations = {
        **FITS_ANY,
        "member lost": pixels(0, lambda d: d[:3]),
        "image": pixels(0, lambda d: d[0]),
        "NaN": pixels(0, lambda d: d * np.nan),
        "header": cards(
            (0, "NXPSFS", 3),
            (0, "NXPSFS", "x"),
            (0, "NYPSFS", None),
            (0, "IPSFX02", None),
            (0, "IPSFX01", "x"),
        ),
    }
    return Kind("PSF grids", path.name, path.read_bytes(), mutations, read)


def psf_npz(folder: Path) -> Kind:
    Psf(helper("cluster_frames").gaussian()[None], 4, 0.04, provenance={"source": "x"}).save(path := folder / "psf.npz")
    read = lambda path: {"samples": Psf.load(path).samples}  # noqa: E731
    return Kind("PSF .npz", path.name, path.read_bytes(), {**ANY, "bits": bits_flipped}, read, tolerance=0.0)


def maps(folder: Path) -> Kind:
    y, x = np.mgrid[:40, :40]
    header = fits.Header(
        {
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CRPIX1": 20.5,
            "CRPIX2": 20.5,
            "CRVAL1": 70.0,
            "CRVAL2": 25.0,
            "CDELT1": -1e-5,
            "CDELT2": 1e-5,
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            "BUNIT": "Jy/beam",
            "BMAJ": 4e-5,
            "BMIN": 3e-5,
            "BPA": 10.0,
        }
    )
    image = np.exp(-0.5 * ((x - 20) ** 2 + (y - 20) ** 2) / 9)
    fits.PrimaryHDU(image, header).writeto(path := folder / "continuum.fits")

    def read(path: Path) -> dict[str, np.ndarray]:
        found = read_fits(path, 140.0)
        return {"data": found.data, "scale": np.array([found.pixel_au, *found.beam_au])}

    mutations = {
        **FITS_ANY,
        "line": pixels(0, lambda d: d[0]),
        "four axes": pixels(0, lambda d: d[None, None].repeat(2, 0).repeat(3, 1)),
        "header": cards(
            (0, "BMAJ", "x"),
            (0, "BMAJ", None),
            (0, "BMIN", "wide"),
            (0, "BUNIT", "furlong"),
            (0, "BUNIT", None),
            (0, "CDELT1", 0.0),
            (0, "CTYPE1", "XX"),
            (0, "CDELT1", "x"),
            (0, "BPA", "north"),
        ),
    }
    return Kind("maps", path.name, path.read_bytes(), mutations, read)


def ferre(folder: Path) -> Kind:
    tests = helper("test_ferre")
    path = tests.write_grid(folder / "grid.dat", (5000.0, 250.0, 3))

    def read(path: Path) -> dict[str, np.ndarray]:
        library = read_ferre(path, tests.WINDOW, progress=False)
        labels = np.array([[5250.0, 4.25, 0.25, 0.0], [5100.0, 4.1, -0.25, 0.0]])
        return {"flux": library.flux("blue", labels)}

    header = words(
        (b"N_P = 3", b"N_P = 4"),
        (b"N_P = 3 3", b"N_P = 3"),
        (b"NPIX = 1200", b"NPIX = 1100"),
        (b"NPIX = 1200", b"NPIX = x"),
        (b"LABEL(2)", b"LABEL(9)"),
        (b"LOGW = 1", b"LOGW = 7"),
        (b"N_P = 3", b"N_P = 999999999"),
        (b"&SYNTH", b"&SINTH"),
        (b"NPIX = 1200", b"NPIX = 99999999999"),
        (b"STEPS = 0.5", b"STEPS = 0.0"),
        (b"WAVE = 3", b"WAVE = x"),
    )
    return Kind(
        "FERRE grids", path.name, path.read_bytes(), {**ANY, **ROWS, "NaN": lines(not_a_number), "header": header}, read
    )


def mist(folder: Path) -> Kind:
    writer = helper("mist_files")
    path = folder / "MIST_v1.2_feh_p0.00_afe_p0.0_vvcrit0.4_EEPS/00100M.track.eep"
    path.parent.mkdir()
    n = 640
    smooth = np.linspace(0, 1, n)
    rows = dict.fromkeys(("star_mass", "log_L", "log_Teff", "log_R", "log_g", "delta_nu", "nu_max"), 1 + smooth)
    rows |= {
        "star_age": 10 ** (6 + 4 * smooth),
        "log_surf_z": -1.8 + 0 * smooth,
        "surface_h1": 0.7 + 0 * smooth,
        "phase": 0 * smooth,
    }
    writer.write_track(path, 0.0, 1.0, rows)

    def read(path: Path) -> dict[str, np.ndarray]:
        frame = _read_track(path)
        return {name: frame[name].to_numpy(float) for name in ("EEP", "star_age", "log_Teff")}

    header = words((b"N_pts", b"N_ptz"), (b"    640", b"    650"), (b"star_age", b"star_agf"), (b"# MIST", b"# MOST"))
    name = f"{path.parent.name}/{path.name}"
    return Kind(
        "MIST tracks", name, path.read_bytes(), {**ANY, **ROWS, "NaN": lines(not_a_number), "header": header}, read
    )


def line_list(folder: Path) -> Kind:
    rng = np.random.default_rng(2)
    text = (
        "title\n"
        + "\n".join(
            f"{w:10.3f} {26.0:5.1f} {e:6.3f} {g:7.3f}"
            for w, e, g in zip(np.sort(rng.uniform(5000, 6000, 200)), rng.uniform(0, 5, 200), rng.uniform(-4, 0, 200))
        )
        + "\n"
    )
    (path := folder / "lines.moog").write_text(text, encoding="ascii")

    def read(path: Path) -> dict[str, np.ndarray]:
        found = read_linelist(path)
        return {"n": np.array([len(found) // 10 * 10 > 0]), "wave": np.array([found.wave.min(), found.wave.max()])}

    mutations = {name: m for name, m in {**ANY, **ROWS}.items() if name not in ("block lost", "truncated")}
    mutations["NaN"] = lines(not_a_number)
    return Kind("line lists", path.name, path.read_bytes(), mutations, read, tolerance=0.05)


def released(folder: Path) -> Kind:
    products = helper("mrs_products")
    for seed in (1, 2):
        products.write_model(folder / f"seed{seed}", seed=seed)
    save_released(path := folder / "blue.safetensors", [load_model(folder / f"seed{seed}") for seed in (1, 2)])

    def read(path: Path) -> dict[str, np.ndarray]:
        return {
            "weights": np.concatenate(
                [p.detach().numpy().ravel() for net, _ in load_released(path) for p in net.parameters()]
            )
        }

    def retensored(change: Callable[[dict], None]) -> Mutation:
        def mutation(content: bytes, rng: np.random.Generator) -> bytes:
            import json

            from safetensors.torch import load, save

            size = int.from_bytes(content[:8], "little")
            metadata = json.loads(content[8 : 8 + size])["__metadata__"]
            change(tensors := load(content))
            return save(tensors, metadata)

        return mutation

    def first(tensors: dict, value: object) -> None:
        name = sorted(name for name in tensors if tensors[name].ndim > 1)[0]
        if value is None:
            del tensors[name]
        elif isinstance(value, float):
            tensors[name].reshape(-1)[0] = value
        else:
            tensors[name] = tensors[name][:1].contiguous()

    mutations = {
        **ANY,
        "bits": bits_flipped,
        "NaN": retensored(lambda t: first(t, float("nan"))),
        "copy": words((b'\\"seed\\": 2', b'\\"seed\\": 1')),
        "inf": retensored(lambda t: first(t, float("inf"))),
        "missing": retensored(lambda t: first(t, None)),
        "misshapen": retensored(lambda t: first(t, 1)),
        "stranger": retensored(lambda t: t.update({"7/x": torch.ones(1)})),
    }
    return Kind("released models", path.name, path.read_bytes(), mutations, read, tolerance=0.0)


def checkpoint(folder: Path) -> Kind:
    from dioscuri.seals import tensors_digest

    helper("mrs_products").write_model(folder / "trained")
    content = torch.load(folder / "trained/model.ckpt", weights_only=True)
    torch.save(content | {"digest": tensors_digest(content["state_dict"])}, path := folder / "model.ckpt")

    def read(path: Path) -> dict[str, np.ndarray]:
        return {"weights": np.concatenate([p.detach().numpy().ravel() for p in load_model(path)[0].parameters()])}

    return Kind("checkpoints", path.name, path.read_bytes(), {**ANY, "bits": bits_flipped}, read, tolerance=0.0)


def shard(folder: Path) -> Kind:
    columns = {"key": np.arange(30), "file": np.array(["a.fits"] * 30, object)}
    flux = np.random.default_rng(3).normal(0, 0.05, (30, 64))
    shards.write_spectra_shard(path := folder / "shard000000.h5", columns, {"blue": (flux, np.abs(flux))}, {"a": 1})

    def read(path: Path) -> dict[str, np.ndarray]:
        return {"flux": shards.read_spectra(path, "blue")[0], "key": shards.read_exposures(path)["key"]}

    return Kind("shards", path.name, path.read_bytes(), {**ANY, "bits": bits_flipped}, read, tolerance=0.0)


OTHERS = (frames, stamps, psf_image, psf_grid, psf_npz, maps, ferre, mist, line_list, released, checkpoint, shard)

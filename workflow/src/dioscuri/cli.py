"""The `dioscuri` command: score files, print a star's track or spectrum, fetch tracks and exposures, check settings."""

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import dioscuri
from dioscuri import door, extras

if TYPE_CHECKING:
    from dioscuri.config import Config

EXIT_NOTHING_READ = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status. User mistakes end in one line on stderr, never in a traceback."""
    options = build_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or locale that lacks a letter is no reason to stop
            stream.reconfigure(errors="backslashreplace")
    try:
        status = options.run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `dioscuri … | head` is a fair thing to do
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor shall closing it complain
        return 0
    except KeyboardInterrupt:
        print(f"dioscuri {options.verb}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except ModuleNotFoundError as error:
        print(f"dioscuri {options.verb}: {extras.remedy(error)}", file=sys.stderr)
        return EXIT_USAGE
    except (ValueError, OSError) as error:
        print(f"dioscuri {options.verb}: {door.printable_lines(str(error))}", file=sys.stderr)
        return EXIT_USAGE


def build_parser() -> argparse.ArgumentParser:
    """All verbs and their options."""
    parser = argparse.ArgumentParser(prog="dioscuri", description="Find the second star.")
    parser.add_argument("--version", action="version", version=f"dioscuri {dioscuri.__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    _add_predict(verbs.add_parser("predict", help="score observations with the released models"))

    verb = verbs.add_parser("track", help="print a star of the evolutionary tracks as CSV")
    verb.add_argument("--mass", type=float, required=True, help="initial mass, Msun")
    verb.add_argument("--feh", type=float, default=0.0, help="[Fe/H], dex")
    verb.add_argument("--eep", type=float, help="equivalent evolutionary point, 202 (ZAMS) to 605 (RGB tip)")
    verb.add_argument("--age", type=float, help="age, Gyr, instead of --eep")
    verb.add_argument("--source", default="embedded", choices=("embedded", "mist", "auto"))
    verb.add_argument("--mist-dir", type=Path, help="folder that holds mist/tracks/")
    verb.set_defaults(run=_track)

    verb = verbs.add_parser("spectrum", help="print a synthetic spectrum as CSV")
    for name, default, meaning in (
        ("teff", None, "K"),
        ("logg", None, "dex (cgs)"),
        ("feh", 0.0, "[Fe/H], dex"),
        ("afe", 0.0, "[alpha/Fe], dex"),
        ("vsini", 0.0, "km/s"),
        ("rv", 0.0, "km/s"),
        ("resolution", 7500.0, "resolving power"),
        ("wave-min", 5000.0, "Å in vacuum"),
        ("wave-max", 5300.0, "Å in vacuum"),
    ):
        verb.add_argument(f"--{name}", type=float, default=default, required=default is None, help=meaning)
    verb.add_argument("--linelist", type=Path, help="MOOG- or VALD-format line list instead of the embedded one")
    verb.set_defaults(run=_spectrum)

    verb = verbs.add_parser("download-mist", help="fetch the MIST v1.2 evolutionary tracks")
    verb.add_argument("--folder", type=Path, required=True, help="where to; goes to tracks.mist_dir")
    verb.add_argument(
        "--feh", type=float, nargs="+", help="[Fe/H] nodes, dex (default: all of -2 to 0.5, 1.1 GB packed)"
    )
    verb.add_argument("--base-url", help="a mirror, instead of the MIST project's own site")
    verb.add_argument("--checksums", type=Path, help="sha256 of the archives, in sha256sum's format")
    verb.set_defaults(run=_download_mist)

    verb = verbs.add_parser("download-mast", help="fetch HST exposures ('flt') of a proposal from MAST")
    verb.add_argument("--folder", type=Path, required=True, help="where to")
    verb.add_argument(
        "--proposal", type=int, default=12911, help="number of the proposal (default: GO-12911, NGC 6121)"
    )
    verb.add_argument("--filters", nargs="+", default=["F467M", "F775W"], help="WFC3/UVIS filters")
    verb.add_argument("--list", action="store_true", help="only print names and sizes")
    verb.add_argument("--base-url", help="another address of the download service")
    verb.add_argument("--checksums", type=Path, help="sha256 of the files, in sha256sum's format")
    verb.set_defaults(run=_download_mast)

    verb = verbs.add_parser("download-weights", help="fetch pretrained networks for machines without a network")
    verb.add_argument("files", nargs="*", type=Path, help="YAML files laid over config/config.yaml: whose networks")
    verb.add_argument("--folder", type=Path, required=True, help="where to; weights.yaml there is laid over settings")
    verb.add_argument("--base-url", help="a mirror of the Hugging Face hub")
    verb.add_argument("--checksums", type=Path, help="sha256 of the files, in sha256sum's format")
    verb.set_defaults(run=_download_weights)

    verb = verbs.add_parser("summary", help="what a run of the workflow found, and which checks failed")
    verb.add_argument("results", type=Path, help="results/<preset>")
    verb.set_defaults(run=_summary)

    verb = verbs.add_parser("check-config", help="check settings: all mistakes at once")
    verb.add_argument("files", nargs="*", type=Path, help="YAML files laid over config/config.yaml")
    verb.set_defaults(run=_check_config)
    return parser


def _add_predict(verb: argparse.ArgumentParser) -> None:
    """Options of `predict`: those of one survey are refused by the others, and default to what its module says."""
    verb.add_argument("files", nargs="+", metavar="FILE", help="FITS files, globs or folders")
    verb.add_argument("--survey", required=True, help="csst, hst, lamost_mrs, lamost_lrs or protostar")
    verb.add_argument("-o", "--output", type=Path, help="table to write: .csv, .fits or .parquet")
    verb.add_argument("--plot", type=Path, help="figure to write: .png or .pdf")
    verb.set_defaults(run=_predict)

    mrs = verb.add_argument_group("lamost_mrs")
    mrs.add_argument("--arm", dest="arms", action="append", choices=("blue", "red"), help="only this arm (repeatable)")
    mrs.add_argument("--penalty", type=float, help="Λ of the paper's eq. 7 (default 16)")
    mrs.add_argument(
        "--sources", type=Path, help="a second table to write (.csv, .fits, .parquet): class, q, γ and orbit per star"
    )
    mrs.add_argument("--draws", type=int, help="Monte-Carlo noise draws (default 20)")
    mrs.add_argument("--coadds", action="store_true", default=None, help="score co-added spectra too")
    mrs.add_argument("--models", type=Path, help="folder of models (default: the released ones)")

    lrs = verb.add_argument_group("lamost_lrs (with --models; --catalogue TABLE: labels by obsid or file)")
    lrs.add_argument("--snrg-min", type=float, help="S/N in g at or below which spectra are refused (default 20)")
    lrs.add_argument("--calibration", type=Path, help="calibration on real stars of your own, made by the workflow")

    images = verb.add_argument_group("csst and hst (with --models, too)")
    images.add_argument(
        "--psf",
        "--psf-grid",
        type=Path,
        help="PSF: .npz, STDPSF or STPSF grid, FITS image (hst default: of the frame's own stars)",
    )
    images.add_argument("--psf-oversampling", type=int, help="samples per pixel of a PSF that is a FITS image")
    images.add_argument(
        "--pixel-integrated", action=argparse.BooleanOptionalAction, help="is the pixel in that image? (default: it is)"
    )
    images.add_argument(
        "--any-filter", action="store_true", default=None, help="hst: score other filters and cameras too, flagged"
    )
    images.add_argument(
        "--photometry", type=Path, nargs="+", metavar="LIST",
        help="hst: star lists instead of our detection (table with x, y or ra, dec; hst1pass; DOLPHOT)",
    )  # fmt: skip
    images.add_argument(
        "--likelihood", choices=("needed", "all"), help="log_bf where it can change the verdict, or of all"
    )
    images.add_argument("--processes", type=int, help="hst: chips worked on at the same time (default 1)")
    images.add_argument(
        "--noise",
        type=float,
        help="csst: electrons rms in a pixel without star; protostar: Jy/sr rms (default: measured)",
    )
    images.add_argument("--background", type=float, help="csst: electrons per pixel that were subtracted (default 0)")

    stars = verb.add_argument_group("protostar")
    stars.add_argument("--distance", type=float, help="pc")
    stars.add_argument("--primary", type=float, nargs=2, metavar=("RA", "DEC"), help="deg (default: brightest peak)")
    stars.add_argument("--secondary", type=float, nargs=2, metavar=("RA", "DEC"), help="deg (default: not resolved)")
    stars.add_argument(
        "--position-angle", type=float, help="deg, north through east, of up where there is no secondary"
    )
    stars.add_argument(
        "--separation", type=float, help="AU, projected, of the embedded catalogue's images (default 200)"
    )
    stars.add_argument("--zoom", type=float, help="magnification of the map before the comparison (default 1)")
    stars.add_argument("--systemic-kms", type=float, help="km/s, of the object: velocities become relative to it")
    stars.add_argument("--field", type=float, help="AU that are compared (default: all that map and catalogue have)")
    stars.add_argument("--largest-scale", type=float, help="arcsec: what is smoother was lost by the interferometer")
    stars.add_argument("--uv", help="uv coverage of the map: UVFITS, or a table (.csv, .ecsv) of u [unit] and v [unit]")
    stars.add_argument("--antennas", help="antenna list of the map (CASA .cfg; east, north, up in metres)")
    stars.add_argument("--hour-angles", type=float, nargs=2, metavar=("FROM", "TO"), help="h, with --antennas (-1 1)")
    stars.add_argument("--latitude", type=float, help="deg, of antennas whose list names no known observatory")
    stars.add_argument("--calibration-error", type=float, help="relative, of the flux scale (default 0)")
    stars.add_argument("--channel", help="of the catalogue (default continuum_1300um)")
    stars.add_argument(
        "--catalogue",
        nargs="+",
        metavar="SHARD",
        help="shards of your own (default: the embedded ones)",
    )
    stars.add_argument(
        "--network",
        help="feature network (default efficientnet_lite0 where dioscuri[pretrained] is installed, else random_cnn)",
    )
    stars.add_argument("--weights", help="hub, none or a file of weights (default hub)")
    stars.add_argument("--top", type=int, help="rows to show and write (default 50)")


def _predict(options: argparse.Namespace) -> int:
    from dioscuri import predict

    common = ("files", "survey", "output", "plot", "run", "verb")
    given = {name: value for name, value in vars(options).items() if name not in common and value is not None}
    log = logging.getLogger("dioscuri")
    level = log.level
    log.setLevel(logging.ERROR)  # what is refused is a row
    try:
        table, information = predict.run(options.survey, options.files, options.output, options.plot, **given)
    finally:
        log.setLevel(level)
    predict.show(table, information)
    if options.output:
        print(f"{len(table)} rows written to {options.output}", file=sys.stderr)
    if options.plot:
        print(f"figure written to {options.plot}", file=sys.stderr)
    return 0 if table["status"].str.startswith(("ok", "doubtful")).any() else EXIT_NOTHING_READ


def _track(options: argparse.Namespace) -> int:
    from dioscuri.stars.tracks import describe_star, load_tracks

    if (options.eep is None) == (options.age is None):
        raise ValueError("give exactly one of --eep and --age")
    tracks = load_tracks(options.source, mist_dir=options.mist_dir)
    star = describe_star(tracks, options.mass, options.feh, eep=options.eep, age_gyr=options.age)
    print(f"# tracks: {tracks.provenance.get('source', options.source)}")
    print(",".join(star))
    print(",".join(f"{value:.7g}" for value in star.values()))
    return 0


def _spectrum(options: argparse.Namespace) -> int:
    from dioscuri.mocks.pairs import one_spectrum

    wave, flux, normalised = one_spectrum(
        options.teff,
        options.logg,
        options.feh,
        options.afe,
        vsini=options.vsini,
        rv=options.rv,
        resolution=options.resolution,
        wave_min=options.wave_min,
        wave_max=options.wave_max,
        linelist=options.linelist,
    )
    print("wavelength_vacuum_A,flux_erg_s_cm2_A,normalised_flux")
    for row in zip(wave, flux, normalised):
        print("{:.4f},{:.6e},{:.6f}".format(*row))
    return 0


def _download_mist(options: argparse.Namespace) -> int:
    from dioscuri.stars import download

    folders = download.download_mist(
        options.folder,
        options.feh,
        base_url=options.base_url or download.BASE_URL,
        checksums=options.checksums,
    )
    print(f"{len(folders)} [Fe/H] in {options.folder}, checksums in {options.folder / download.MANIFEST}")
    print(f"settings: tracks: {{ source: mist, mist_dir: {options.folder} }}")
    return 0


def _download_mast(options: argparse.Namespace) -> int:
    from dioscuri.cluster import download

    products = download.list_exposures(options.proposal, options.filters)
    if options.list:
        for product in products:
            print(f"{product.name}  {product.size / 1e6:.1f} MB")
        return 0
    manifest = f"MAST_GO{options.proposal}.sha256"
    paths = download.download_mast(
        options.folder,
        products,
        base_url=options.base_url or download.MAST_URL,
        manifest=manifest,
        checksums=options.checksums,
    )
    print(f"{len(paths)} exposures in {options.folder}, checksums in {options.folder / manifest}")
    return 0


def _download_weights(options: argparse.Namespace) -> int:
    from dioscuri.learn import weights

    models = weights.wanted(_settings(options.files).model_dump())
    base_url = options.base_url or weights.HUB_URL
    files = weights.download_weights(options.folder, models, base_url=base_url, checksums=options.checksums)
    print(f"{len(files)} files in {options.folder}, checksums in {options.folder / weights.MANIFEST}")
    print(f"settings: snakemake --configfile … {options.folder / weights.OVERLAY}")
    return 0


def _summary(options: argparse.Namespace) -> int:
    from dioscuri.evaluation.summary import as_text, summarise
    from dioscuri.paths import REPOSITORY

    print(as_text(summarise(options.results, REPOSITORY / "workflow" / "rules"), options.results))
    return 0


def _settings(files: Sequence[Path]) -> "Config":
    """The settings that came with the package, with files laid over them, checked."""
    from dioscuri.config import load_config
    from dioscuri.paths import shipped

    return load_config([*(shipped("config") / name for name in ("config.yaml", "surveys.yaml")), *files])


def _check_config(options: argparse.Namespace) -> int:
    config = _settings(options.files)
    print(f"settings are right: preset '{config.preset}', surveys {', '.join(config.surveys)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

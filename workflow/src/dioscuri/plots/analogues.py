"""Figures of a search for analogues: catalogue, ranked sheet, distances, evolution, and estimated parameters."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from dioscuri.analogues.catalogue import read_frame, read_images, read_metadata
from dioscuri.analogues.estimate import PARAMETERS, available, distributions, isotropic_weights, with_total_mass
from dioscuri.analogues.observation.query import Query
from dioscuri.analogues.observation.query_files import load_query
from dioscuri.analogues.retrieval import distinct
from dioscuri.analogues.search import analogues, image_of, query_and_members, stretch_of
from dioscuri.plots.style import ACCENT, FAINT, PAGE, SINGLE, File, empty, figure
from dioscuri.seals import verified

SKY, VELOCITY = "inferno", "RdBu_r"
METHOD_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442", "#E69F00", "#000000", "#999999")
FIG7 = ("age1", "m1", "m2", "m_total", "separation", "disc_size1")  # the parameters of Figs. 7 and 8
BEST = 50  # matches per map in Fig. 4
LABELS = {parameter.column: parameter.label for parameter in PARAMETERS}
SHEET = 8  # analogues around the observation in Fig. 6


def colours(n: int) -> list:
    """Colours of n methods or maps: those that all readers can tell apart as far as they go."""
    return (
        list(METHOD_COLOURS[:n]) if n <= len(METHOD_COLOURS) else list(colormaps["turbo"](np.linspace(0.02, 0.98, n)))
    )


def show_image(axes: Axes, image: np.ndarray, channel: str, ceiling: float, decades: float, half: float) -> None:
    """One image (H, W): continuum on the log stretch that the networks see, velocities about rest; axes in AU."""
    extent = (-half, half, -half, half)
    if channel.startswith("moment1"):
        axes.imshow(image, cmap=VELOCITY, vmin=-ceiling, vmax=ceiling, origin="lower", extent=extent)
        axes.set_facecolor("#DDDDDD")
    else:
        stretched = np.log10(np.maximum(image, ceiling * 10.0**-decades))
        axes.imshow(
            stretched, cmap=SKY, vmin=np.log10(ceiling) - decades, vmax=np.log10(ceiling), origin="lower", extent=extent
        )
    axes.set(xticks=[], yticks=[])
    axes.grid(False)


def gallery(
    out: File,
    shards: Sequence[File],
    channels: Sequence[str],
    *,
    decades: float,
    n_systems: int = 6,
    n_moments: int = 5,
    settings: Any = None,
) -> None:
    """Systems (rows) through time (columns): the first continuum channel, with velocities in every other column."""
    continuum = next((channel for channel in channels if not channel.startswith("moment1")), channels[0])
    moment = next((channel for channel in reversed(channels) if channel.startswith("moment1")), None)
    shown = list(shards)[:n_systems]
    columns = n_moments + (moment is not None)
    stretch = stretch_of(shown, continuum, decades=decades)
    fastest = None if moment is None else stretch_of(shown, moment).ceiling
    with figure(out, 1.5 * columns + 0.3, 1.5 * len(shown) + 0.5, settings) as drawing:
        panels = drawing.subplots(len(shown), columns, squeeze=False)
        for row, shard in zip(panels, shown):
            metadata, half = read_metadata(shard), 0.5 * read_frame(shard).pixel_au
            front = np.flatnonzero((metadata["projection"] == 0) & ~metadata["mirror"].astype(bool))
            front = front if len(front) else np.arange(len(metadata["image_id"]))
            chosen = front[np.linspace(0, len(front) - 1, n_moments).astype(int)]
            for axes, k in zip(row, chosen):
                image = read_images(shard, continuum, slice(k, k + 1))[0]
                show_image(axes, image, continuum, stretch.ceiling, decades, half * len(image))
                axes.set_title(
                    f"{metadata['age1'][k]:.0f} kyr, {metadata['m1'][k]:.2f} + {metadata['m2'][k]:.2f} M☉\n"
                    f"D = {metadata['separation'][k]:.0f} AU",
                    fontsize=6,
                )
            if moment is not None and fastest is not None:
                k = chosen[n_moments // 2]
                image = read_images(shard, moment, slice(k, k + 1))[0]
                show_image(row[-1], image, moment, fastest, decades, half * len(image))
                row[-1].set_title(
                    f"{moment.replace('_', ' ')}, ±{fastest:.1f} km/s\nat {metadata['age1'][k]:.0f} kyr", fontsize=6
                )
            row[0].set_ylabel(f"system {metadata['system'][0]}", fontsize=7)
        width = 2 * half * len(image)
        about = f"each {width:.0f} AU wide; {continuum.replace('_', ' ')}"
        if not continuum.startswith("moment1"):
            about += f", logarithmic from {stretch.ceiling * 10**-decades:.1e} to {stretch.ceiling:.1e} Jy/sr"
        drawing.supxlabel(about, fontsize=7)


def ranked_sheet(
    out: File,
    ranking: File,
    query: File,
    shards: Sequence[File],
    channel: str,
    *,
    decades: float,
    method: str,
    metric: str,
    caveat: str = "",
    settings: Any = None,
) -> None:
    """`draw_sheet` of one method and metric of a ranking."""
    table = pd.read_parquet(verified(ranking))
    part = table[(table["method"] == method) & (table["metric"] == metric)].reset_index(drop=True)
    title = f"{method.replace('_', ' ')}, {metric} distance, {channel.replace('_', ' ')}{caveat}"
    draw_sheet(out, part, load_query(query), shards, channel, decades=decades, title=title, settings=settings)


def draw_sheet(
    out: File,
    part: pd.DataFrame,
    query: Query,
    shards: Sequence[File],
    channel: str,
    *,
    decades: float,
    title: str,
    settings: Any = None,
) -> None:
    """The observation in the middle of its best analogues, one per snapshot, all as they were compared (Fig. 6).

    part: a ranking, nearest first.
    """
    snapshots = (part["system"].astype(str) + "/" + part["snapshot"].astype(str)).to_numpy()
    best = part.iloc[distinct(np.arange(len(part)), snapshots)[:SHEET]]
    half = 0.5 * query.pixel_au * len(query.image)
    ceiling = stretch_of(shards, channel, decades=decades).ceiling
    with figure(out, 7.0, 7.6, settings) as drawing:
        panels = drawing.subplots(3, 3).ravel()
        middle = panels[4]
        show_image(middle, seen_alone(query.image, query.missing, channel), channel, ceiling, decades, half)
        middle.set_title("observation", fontweight="bold")
        for spine in middle.spines.values():
            spine.set(edgecolor=ACCENT, linewidth=2.5)
        places = [panels[k] for k in (0, 1, 2, 3, 5, 6, 7, 8)]
        for axes, (_, row) in zip(places, best.iterrows()):
            image = image_of(shards, channel, row["image_id"])
            seen = query_and_members(query, image[None], [row["image_id"]])[0]
            unseen = query.missing | ~np.isfinite(central(image, len(seen)))
            show_image(axes, seen_alone(seen, unseen, channel), channel, ceiling, decades, half)
            axes.set_title(
                f"{row['rank']:.0f}: system {row['system']}, {row['age1']:.0f} kyr\n"
                f"{row['m1']:.2f} + {row['m2']:.2f} M☉, D = {row['separation']:.0f} AU",
                fontsize=7,
            )
        for axes in places[len(best) :]:
            axes.axis("off")
        length, ink = round_length(half), "black" if channel.startswith("moment1") else "white"
        middle.plot([-0.9 * half, -0.9 * half + length], [-0.88 * half] * 2, color=ink)
        middle.text(-0.9 * half, -0.82 * half, f"{length:.0f} AU", color=ink, fontsize=7)
        span = (
            f"±{ceiling:.1f} km/s"
            if channel.startswith("moment1")
            else f"{decades:g} decades below {ceiling:.1e} Jy/sr"
        )
        grey = "; grey: no line, filled in for the comparison" if channel.startswith("moment1") else ""
        drawing.suptitle(f"{title}\n{span}{grey}", fontsize=8)


def seen_alone(image: np.ndarray, unseen: np.ndarray, channel: str) -> np.ndarray:
    """A velocity map without the pixels that were filled in; other images as they are."""
    return np.where(unseen, np.nan, image) if channel.startswith("moment1") else image


def central(image: np.ndarray, n: int) -> np.ndarray:
    """The central n × n pixels of an image."""
    row, column = ((size - n) // 2 for size in image.shape)
    return image[row : row + n, column : column + n]


def round_length(half: float) -> float:
    """The largest of 1, 2, 5, 10, … AU that fits twice into half the width of an image, for a scale bar."""
    decade = 10 ** np.floor(np.log10(0.5 * half))
    return float(max(step for step in (decade, 2 * decade, 5 * decade) if step <= 0.5 * half))


def distance_distributions(out: File, ranking: File, cut: Mapping[str, Any], settings: Any = None) -> None:
    """Distances to the query by method and metric, shifted and scaled; what the cut keeps, and mean − 2σ (Fig. 5)."""
    table = pd.read_parquet(verified(ranking))
    kept = analogues(table, cut)
    groups = list(table.groupby(["method", "metric"], sort=False))
    columns = min(4, len(groups))
    rows = -(-len(groups) // columns)
    with figure(out, 2.3 * columns + 0.4, 1.7 * rows + 0.6, settings) as drawing:
        panels = drawing.subplots(rows, columns, squeeze=False, sharex=True).ravel()
        for number, (axes, ((method, metric), part)) in enumerate(zip(panels, groups)):
            limit = kept[(kept["method"] == method) & (kept["metric"] == metric)]["z"].max()
            edges = np.linspace(-4, 4, 65)
            z = np.clip(part["z"], -4, 4)
            axes.hist(z, edges, color=FAINT)
            axes.hist(z[part["z"] <= limit], edges, color="#D55E00")
            axes.axvline(-2, color=SINGLE, ls="--", lw=0.8)
            beyond = int((part["z"] < -2).sum())
            axes.set_title(f"{method.replace('_', ' ')}\n{metric}: {beyond} below −2σ", fontsize=6.5)
            # The lowest panel of a column carries its axis, also where the last row is not full.
            axes.tick_params(labelbottom=number + columns >= len(groups), labelsize=6.5)
            axes.set_xticks([-4, -2, 0, 2, 4])
        for axes in panels[len(groups) :]:
            axes.axis("off")
        drawing.supylabel("images of the catalogue", fontsize=8)
        drawing.supxlabel("distance from the mean [σ]; coloured: analogues; dashed: −2σ", fontsize=8)


def evolution(
    out: File,
    rankings: Sequence[File],
    shards: Sequence[File],
    *,
    channels: Sequence[str],
    method: str,
    metric: str,
    truth: File | None = None,
    settings: Any = None,
) -> None:
    """Separation, masses, accretion rates and luminosities of the best-matching system, and when its best matches are.

    rankings: one of each channel; the `BEST` images of each channel are vertical lines (Fig. 4).
    """
    metadata = pd.DataFrame(read_metadata(shards)).drop_duplicates(["system", "snapshot"])
    best = {}
    for channel, path in zip(channels, rankings):
        ranking = pd.read_parquet(verified(path))
        best[channel] = ranking[(ranking["method"] == method) & (ranking["metric"] == metric)].head(BEST)
    votes = pd.concat(best.values())["system"].value_counts()
    system = votes.index[0]
    track = metadata[metadata["system"] == system].sort_values("time_kyr")
    with figure(out, PAGE, 7.0, settings) as drawing:
        panels = drawing.subplots(4, 1, sharex=True)
        panels[0].semilogy(track["time_kyr"], track["separation"], color="black")
        panels[0].set_ylabel("separation [AU]")
        for axes, stem, label in (
            (panels[1], "m", "mass [M☉]"), (panels[2], "mdot", "accretion [M☉/yr]"), (panels[3], "l", "luminosity [L☉]")
        ):  # fmt: skip
            for star, line in ((1, "-"), (2, "--")):
                values = track[f"{stem}{star}"].where(track[f"{stem}{star}"] > 0)
                axes.plot(track["time_kyr"], values, color="black", ls=line, label=("primary", "secondary")[star - 1])
            axes.set_ylabel(label)
            if stem != "m":
                axes.set_yscale("log")
        panels[1].legend(loc="upper left")
        for axes in (panels[0], panels[3]):  # less than a few decades
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        for number, ((channel, rows), colour) in enumerate(zip(best.items(), colours(len(best)))):
            here = rows[rows["system"] == system]
            part = np.array([number, number + 1]) / len(best)  # of the height: channels often agree on a snapshot
            for axes in panels:
                for time in np.unique(here["time_kyr"]):
                    axes.axvline(time, *part, color=colour, lw=1, alpha=0.5, zorder=0)
            panels[0].plot([], [], color=colour, label=f"{channel.replace('_', ' ')}: {len(here)} of {len(rows)} here")
        drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7)
        title = f"system {system}: {votes.iloc[0]} of the {votes.sum()} best matches"
        if truth:
            known = json.loads(Path(truth).read_text(encoding="utf-8"))
            title += f"; the query is another system, {known['age1']:.0f} kyr old"
        panels[0].set_title(title)
        panels[-1].set_xlabel("time since the collapse began [kyr]")


def parameter_histograms(
    out: File,
    ranking: File,
    shards: Sequence[File],
    cut: Mapping[str, Any],
    methods: Sequence[str],
    metric: str,
    *,
    truth: File | None = None,
    isotropic: bool = False,
    caveat: str = "",
    settings: Any = None,
) -> None:
    """Histograms and densities of the parameters of the analogues, per method and stacked (Figs. 7 and 8).

    metric: that of plain networks; heads are trained for l1. isotropic: weigh the images of the catalogue as viewers in
    all directions would see them. The grey line is the whole catalogue: what would be said without looking.
    """
    table = pd.read_parquet(verified(ranking))
    metrics = {method: "l1" if "/" in method else metric for method in methods}
    wanted = pd.concat([table[(table["method"] == m) & (table["metric"] == metrics[m])] for m in methods])
    kept = analogues(wanted, cut)
    columns = with_total_mass({name: table[name].to_numpy() for name in table.columns})
    known = json.loads(Path(truth).read_text(encoding="utf-8")) if truth else None
    if known is not None:
        known["m_total"] = known["m1"] + known["m2"]
    parameters = [parameter for parameter in available(columns) if parameter.column in FIG7]
    catalogue = wanted[wanted["method"] == methods[0]]
    members = {method: kept[kept["method"] == method] for method in methods}
    weights = None
    if isotropic:
        frame = read_frame(shards[0])
        weights = {
            name: isotropic_weights(rows["separation"], frame.separation_au, 0.5 * frame.beam_au[0])
            for name, rows in (members | {"all": catalogue}).items()
        }
    with figure(out, PAGE, 5.4, settings) as drawing:
        if not parameters:
            empty(drawing.subplots(), "the catalogue has none of the parameters of Figs. 7 and 8")
            return
        panels = drawing.subplots(2, 3).ravel()
        for axes, parameter in zip(panels, parameters):
            values = {m: rows[parameter.column].to_numpy() for m, rows in members.items()}
            everything = {"all": catalogue[parameter.column].to_numpy()}
            low, high = float(np.nanmin(everything["all"])), float(np.nanmax(everything["all"]))
            limits = (low, high) if high > low else None
            found = distributions(parameter, values, weights, limits=limits)
            prior = distributions(parameter, everything, weights, limits=limits)
            width, base = np.diff(found.edges), np.zeros(len(found.edges) - 1)
            for (method, heights), colour in zip(found.histograms.items(), colours(len(methods))):
                axes.bar(
                    found.edges[:-1], heights, width, base, align="edge", color=colour, label=method.replace("_", " ")
                )
                base = base + heights
            bin_width = np.diff(parameter.forward(found.edges))[0]
            axes.plot(found.grid, found.stacked * bin_width, color="black", label="density")
            axes.plot(prior.grid, prior.stacked * bin_width, color=SINGLE, ls=":", label="whole catalogue")
            if parameter.scale == "log":
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=7))
                axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.xaxis.set_minor_formatter(NullFormatter())
            if known is not None:
                axes.axvline(max(known[parameter.column], parameter.floor), color="black", ls="--", lw=2, label="truth")
            axes.set(xlabel=f"{parameter.label} [{parameter.unit.replace('Msun', 'M☉')}]", yticks=[])
        panels[0].legend(fontsize=6)
        for axes in panels[len(parameters) :]:
            axes.axis("off")
        drawing.suptitle(f"parameters of the analogues{caveat}".replace("\n", ", "), fontsize=9)


def recovery(out: File, recovery: File, settings: Any = None) -> None:
    """Errors of recovered parameters by split and method, between the bounds by random and by oracle analogues."""
    table = pd.read_csv(recovery)
    table = table[table["observation"] == table["observation"].iloc[0]]
    splits = list(dict.fromkeys(table["split"]))
    parameters = [name for name in dict.fromkeys(table["parameter"]) if name != "all"] + ["all"]
    with figure(out, max(2.6 * len(splits) + 1.6, 8.5), 5.6, settings) as drawing:
        panels = drawing.subplots(1, len(splits), sharex=True, sharey=True, squeeze=False)[0]
        for axes, split in zip(panels, splits):
            part = table[table["split"] == split]
            methods = [name for name in dict.fromkeys(part["method"]) if name not in ("random", "oracle")]
            bounds = {
                m: part[part["method"] == m].set_index("parameter").reindex(parameters) for m in ("oracle", "random")
            }
            y = np.arange(len(parameters))
            axes.barh(
                y,
                bounds["random"]["error"] - bounds["oracle"]["error"],
                0.8,
                bounds["oracle"]["error"],
                color="#EEEEEE",
            )
            axes.plot(bounds["random"]["error"], y, "|", color=SINGLE, ms=12)
            axes.plot(bounds["oracle"]["error"], y, "|", color="black", ms=12)
            grouped = _by_recipe(part[part["method"].isin(methods)])
            for number, (method, rows) in enumerate(grouped.items()):
                rows = rows.reindex(parameters)
                shift = 0.5 * (number - (len(grouped) - 1) / 2) / max(len(grouped), 1)
                style = {"marker": "o", "ls": "", "ms": 3.5, "color": colours(len(grouped))[number]}
                axes.errorbar(rows["error"], y + shift, xerr=rows["error_se"], label=method, lw=0.8, **style)
            axes.set_title(split.replace("_", " "))
            axes.set_yticks(y, [LABELS.get(name, "mean of all") for name in parameters])
        # Bootstraps over few systems can spread beyond all use: the estimates themselves set the axis, one for all.
        panels[0].set_xlim(0, 1.15 * np.nanmax(table.loc[table["parameter"].isin(parameters), "error"]))
        panels[0].invert_yaxis()
        drawing.legend(*panels[-1].get_legend_handles_labels(), fontsize=7, loc="outside upper center", ncols=4)
        drawing.supxlabel(
            "median error [scatter of the catalogue]; grey: from the oracle (left) to random (right)", fontsize=8
        )


def _by_recipe(part: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Scores by network, or by network and recipe: the mean over seeds."""
    part = part.assign(label=part["method"].str.replace(r"/\d+$", "", regex=True).str.replace("_", " "))
    return {
        label: rows.groupby("parameter")[["error", "error_se"]].mean()
        for label, rows in part.groupby("label", sort=False)
    }

"""MIST v1.2 track files in the genuine .track.eep layout, filled from the embedded tracks."""

from pathlib import Path

import numpy as np

from dioscuri.stars import mist
from dioscuri.stars.tracks import LOG_AGE, TrackGrid

# The 77 columns of a genuine file, in order.
GENUINE_COLUMNS = [
    "star_age", "star_mass", "star_mdot", "he_core_mass", "c_core_mass", "o_core_mass", "log_L",
    "log_L_div_Ledd", "log_LH", "log_LHe", "log_LZ", "log_Teff", "log_abs_Lgrav", "log_R", "log_g",
    "log_surf_z", "surf_avg_omega", "surf_avg_v_rot", "surf_num_c12_div_num_o16", "v_wind_Km_per_s",
    "surf_avg_omega_crit", "surf_avg_omega_div_omega_crit", "surf_avg_v_crit", "surf_avg_v_div_v_crit",
    "surf_avg_Lrad_div_Ledd", "v_div_csound_surf", "surface_h1", "surface_he3", "surface_he4",
    "surface_li7", "surface_be9", "surface_b11", "surface_c12", "surface_c13", "surface_n14", "surface_o16",
    "surface_f19", "surface_ne20", "surface_na23", "surface_mg24", "surface_si28", "surface_s32",
    "surface_ca40", "surface_ti48", "surface_fe56", "log_center_T", "log_center_Rho", "center_degeneracy",
    "center_omega", "center_gamma", "mass_conv_core", "center_h1", "center_he4", "center_c12", "center_n14",
    "center_o16", "center_ne20", "center_mg24", "center_si28", "pp", "cno", "tri_alfa", "burn_c", "burn_n",
    "burn_o", "c12_c12", "delta_nu", "delta_Pg", "nu_max", "acoustic_cutoff", "max_conv_vel_div_csound",
    "max_gradT_div_grada", "gradT_excess_alpha", "min_Pgas_div_P", "max_L_rad_div_Ledd", "e_thermal",
    "phase",
]  # fmt: skip


def write_track(path: Path, feh: float, mass: float, rows: dict[str, np.ndarray]) -> None:
    """One file as MIST v1.2 writes it: 12 header lines, 32 characters per column."""
    n = len(rows["star_age"])
    eeps = [eep for eep in (1, 202, 353, 454, 605, 631, 707, 808, 1409, 1710) if eep <= n]
    rule = "# " + "-" * 86
    zero = f"{0.0:32.16E}".replace("E+00", "E+000")
    header = [
        "# MIST version number  = 1.2     ",
        "# MESA revision number =     7503",
        rule,
        "#  Yinit        Zinit   [Fe/H]   [a/Fe]  v/vcrit                                        ",
        f"# {0.2703:.4f}  {0.0142857 * 10**feh:.5E}  {feh:7.2f}     0.00     0.40",
        rule,
        "#     initial_mass   N_pts   N_EEP   N_col   phase        type",
        f"# {mass:.10E} {n:7d} {len(eeps):7d} {len(GENUINE_COLUMNS):7d}     YES    low-mass",
        "# EEPs: " + " ".join(f"{eep:8d}" for eep in eeps),
        rule,
        "#" + "".join(f"{k + 1:32d}" for k in range(len(GENUINE_COLUMNS))),
        "#" + "".join(f"{name:>32}" for name in GENUINE_COLUMNS),
    ]
    with open(path, "w", encoding="latin-1") as stream:
        stream.write("\n".join(header) + "\n")
        for k in range(n):
            stream.write(" ")
            for name in GENUINE_COLUMNS:
                stream.write(f"{rows[name][k]:32.16E}" if name in rows else zero)
            stream.write("\n")


def mist_rows(grid: TrackGrid, feh: float, mass: float) -> dict[str, np.ndarray]:
    """Rows from EEP 1: a made-up contraction, the embedded track, and 100 rows beyond the giants' tip."""
    track = grid.evaluate(mass, grid.eep, feh)
    track = track[np.isfinite(track[:, LOG_AGE])]
    if mass == 0.6:
        track = track[: 454 - 202 + 1]  # as genuine solar files of 0.60–0.70 M☉ end
    k = np.arange(201)
    before = np.repeat(track[:1], 201, axis=0)
    before[:, LOG_AGE] = 3.3 + (track[0, LOG_AGE] - 3.3) * k / 201
    track = np.concatenate([before, track])
    if len(track) == 605:
        after = np.repeat(track[-1:], 100, axis=0)
        after[:, LOG_AGE] += 1e-6 * np.arange(1, 101)
        track = np.concatenate([track, after])
    age, log_t, logg, log_r, log_l, present = track.T
    constant = np.ones(age.size)
    return {
        "star_age": 10**age,
        "star_mass": present,
        "log_L": log_l,
        "log_Teff": log_t,
        "log_R": log_r,
        "log_g": logg,
        "log_surf_z": (np.log10(0.0142857) + feh) * constant,
        "surface_h1": 0.7154 * constant,
        "delta_nu": 135.0 * constant,
        "nu_max": 3090.0 * constant,
        "phase": 0.0 * constant,
    }


def write_tree(home: Path, grid: TrackGrid, fehs: tuple[float, ...], masses: tuple[float, ...]) -> None:
    """The folders below `home` as isochrones keeps them."""
    for feh in fehs:
        folder = home / "mist" / "tracks" / mist.folder_name(feh)
        folder.mkdir(parents=True)
        for mass in masses:
            write_track(folder / f"{round(mass * 100):05d}M.track.eep", feh, mass, mist_rows(grid, feh, mass))

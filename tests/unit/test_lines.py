"""The embedded line list, its jitter, and the readers of MOOG- and VALD-format files."""

import gzip

import numpy as np
import pytest

from dioscuri.arms import air_to_vacuum
from dioscuri.synthesis.lines import LineListError, line_list, read_linelist
from dioscuri.synthesis.molecules import BANDS, MGH, magnesium_hydride_lines, magnesium_hydride_population

MOOG = """a title line of the user's
  5183.604   12.0   2.717  -0.239   729.238
  5197.577   26.1   3.230  -2.220
  5211.100  112.00124  0.100  -1.500
"""
VALD_ALL = """                                                                 Lande factors       Damping parameters
Elm Ion       WL_air(A)  log gf* E_low(eV) J lo  E_up(eV) J up   lower   upper    mean   Rad.  Stark   Waals
'Mg 1',       5183.6042,  -0.239,  2.7166, 2.0,  5.1078, 1.0,  1.500,  2.000,  1.250, 7.980,-5.860,-7.240,
'  LS                                                               3s.3p 3P*'
'  LS                                                                3s.4s 3S'
'_          Aldenius'
'Fe 2',       5197.5675,  -2.220,  3.2304, 2.5,  5.6152, 1.5,  0.600,  0.800,  0.600, 8.480,-6.530,-7.880,
'  LS                                                               3d6.(3G).4s a4G'
'  LS                                                                3d6.(5D).4p z4F*'
'_          Raassen'
"""
VALD_STELLAR = """ 5160.00000, 5200.00000, 2, 999, 1.0 Wavelength region, lines selected, lines processed, Vmicro
                                                 Damping parameters   Lande  Central
Spec Ion       WL_vac(A)   Excit(cm-1) Vmic log gf* Rad.  Stark  Waals  factor  depth  Reference
'Mg 1',       5185.0479,  21911.178, 1.0,  -0.239, 7.980,-5.860,-7.240, 1.250, 0.945, '   1 Ald'
'Fe 2',       5199.0149,  26055.423, 1.0,  -2.220, 8.480,-6.530,-7.880, 0.600, 0.700, '   2 Raa'
"""


def test_embedded_list_covers_both_windows():
    lines = read_linelist()
    assert len(lines.window(4960, 5345)) >= 1200
    assert len(lines.window(6280, 6820)) >= 500
    assert np.all(np.diff(lines.wave) >= 0)
    assert lines.wave.min() < 3720 and lines.wave.max() > 8980
    assert set(np.unique(lines.ion)) == {0, 1}
    assert np.all((lines.excitation >= 0) & (lines.excitation < 14))
    assert np.all((lines.log_gf > -12) & (lines.log_gf < 2.5))


def test_every_embedded_line_says_where_its_strength_comes_from():
    lines = read_linelist()
    kinds = {str(origin).split(":")[0] for origin in lines.origin}
    assert kinds == {"laboratory", "astrophysical", "molecular constants"}
    laboratory = np.char.startswith(lines.origin, "laboratory")
    assert laboratory.sum() >= 50
    assert all(":" in origin for origin in lines.origin[laboratory])


@pytest.mark.parametrize(
    ("air", "z", "log_gf"),
    [
        (5183.604, 12, -0.239),
        (5172.684, 12, -0.450),
        (5889.951, 11, 0.108),
        (6439.075, 20, 0.390),
        (5269.537, 26, -1.321),
    ],
)
def test_strong_laboratory_lines(air, z, log_gf):
    lines = read_linelist()
    near = np.flatnonzero((np.abs(lines.wave - air_to_vacuum(air)) < 0.02) & (lines.z == z))
    assert round(log_gf, 2) in np.round(lines.log_gf[near], 2)


def test_moog_format(tmp_path):
    path = tmp_path / "list.moog"
    path.write_text(MOOG)
    lines = read_linelist(path)
    np.testing.assert_allclose(lines.wave[:2], air_to_vacuum(np.array([5183.604, 5197.577])))
    assert list(lines.z) == [12, 26, MGH]
    assert list(lines.ion) == [0, 1, 0]
    assert list(lines.excitation) == [2.717, 3.230, 0.100]
    assert list(lines.log_gf) == [-0.239, -2.220, -1.5]


def test_gzip_is_seen_by_content(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(gzip.compress(MOOG.encode()))
    assert len(read_linelist(path)) == 3


@pytest.mark.parametrize("text", [VALD_ALL, VALD_STELLAR])
def test_vald_formats_agree(tmp_path, text):
    path = tmp_path / "vald.dat"
    path.write_text(text)
    lines = read_linelist(path)
    assert list(lines.z) == [12, 26] and list(lines.ion) == [0, 1]
    np.testing.assert_allclose(lines.wave, [5185.048, 5199.015], atol=2e-3)
    np.testing.assert_allclose(lines.excitation, [2.7166, 3.2304], atol=2e-3)
    np.testing.assert_allclose(lines.log_gf, [-0.239, -2.220])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("5183.604 12.0 2.717 -0.239\n5197.577 iron 3.23 -2.2\n", ("line 2", "iron", "MOOG")),
        ("5183.604 12.0 2.717\n", ("line 1", "log gf")),
        ("", ("the file is empty", "MOOG")),
        ("518.3604 12.0 2.717 -0.239\n", ("518.36", "1000-100000")),
        ("a title\n\nand another\n", ("no line of numbers",)),
        (VALD_ALL.replace("-0.239", "strong"), ("line 3", "VALD3")),
        ("5183.604 99.0 2.717 -0.239\n", ("known element",)),
    ],
)
def test_unreadable_lists_name_file_line_and_finding(tmp_path, text, parts):
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(LineListError) as caught:
        read_linelist(path)
    for part in ("bad.txt", *parts):
        assert part in str(caught.value)


def test_missing_list_is_named(tmp_path):
    with pytest.raises(LineListError, match="nowhere"):
        read_linelist(tmp_path / "nowhere.txt")


def test_jitter_belongs_to_the_line_and_the_seed():
    lines = read_linelist().window(5000, 5300)
    shifted = lines.jittered(0.25, seed=3)
    change = shifted.log_gf - lines.log_gf
    assert change.std() == pytest.approx(0.25, rel=0.08)
    assert abs(change.mean()) < 4 * 0.25 / np.sqrt(len(lines))
    some = lines.select(np.arange(0, len(lines), 7))
    np.testing.assert_array_equal(some.jittered(0.25, seed=3).log_gf, shifted.log_gf[::7])
    assert np.corrcoef(lines.jittered(0.25, seed=4).log_gf - lines.log_gf, change)[0, 1] < 0.1
    np.testing.assert_array_equal(lines.jittered(0.0, seed=3).log_gf, lines.log_gf)


def test_merged_lists_stay_in_order():
    a = line_list([5001.0, 5003.0], [26, 26], [0, 0], [1.0, 1.0], [-1.0, -1.0])
    b = line_list([5002.0], [12], [0], [2.0], [-2.0])
    assert list(a.merged(b).wave) == [5001.0, 5002.0, 5003.0]


def test_magnesium_hydride_heads_lie_where_they_are_seen():
    """Band heads of MgH: 5211 Å (0-0) and 5182-5186 Å (1-1), degraded to the violet (Pearse & Gaydon)."""
    wave, excitation, log_gf = magnesium_hydride_lines()
    hot = excitation > 0.177  # v = 1
    assert wave.max() == pytest.approx(air_to_vacuum(5211.0), abs=1.5)
    assert wave[hot & (log_gf > -1.5)].max() < air_to_vacuum(5212.0)
    # the strengths of a level's lines add up to its statistical weight, 2 (2N + 1), times f
    expected = sum(band.oscillator_strength * np.sum(2 * (2 * np.arange(1, band.n_max) + 1)) for band in BANDS)
    assert np.sum(10.0**log_gf) == pytest.approx(expected, rel=0.02)


def test_magnesium_hydride_dissociates_with_temperature():
    temperature = np.array([3500.0, 4500.0, 6000.0])
    ratio = magnesium_hydride_population(temperature, np.ones(3), np.ones(3))
    assert ratio[0] > 3 * ratio[1] > 9 * ratio[2]

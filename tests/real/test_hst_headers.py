"""Genuine headers of HST's archive: read, or refused with a reason of their own."""

import pytest

from dioscuri.cluster.frames import FrameError, read_flt


def test_an_flc_with_headerlets_is_read(real_data):
    frames = read_flt(real_data / "psf" / "sample_svm_flc.fits")
    assert [(frame.camera, frame.filter, frame.extension, frame.chip) for frame in frames] == [
        ("WFC3/UVIS", "F555W", 1, 2),
        ("WFC3/UVIS", "F555W", 2, 1),
    ]
    assert 0.039 < frames[0].pixel_scale < 0.041


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("j8bt06nyq_sip_flt.fits", "SCI,1 has no ERR and no DQ"),
        ("sample_ipppssoot_flt.fits", "'ELECTRONS/S', a rate"),
    ],
)
def test_others_are_refused(real_data, name, told):
    with pytest.raises(FrameError, match=told):
        read_flt(real_data / "psf" / name)

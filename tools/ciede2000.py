"""Converts colours from sRGB to CIELAB, and computes their CIEDE2000 difference. Needs numpy."""

import numpy as np

Array = np.ndarray

TO_XYZ = np.array(  # linear sRGB -> CIE XYZ, D65
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
# Linear sRGB as seen without green cones, by Machado, Oliveira and Fernandes (2009).
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)


def linear(rgb: Array) -> Array:
    """sRGB, 0 to 255, without its gamma: 0 to 1."""
    share = np.asarray(rgb, float) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab_of_linear(light: Array) -> Array:
    """Linear sRGB -> CIELAB, under D65."""
    share = light @ TO_XYZ.T / TO_XYZ.sum(axis=1)
    f = np.where(share > (6 / 29) ** 3, np.cbrt(share), share * (29 / 6) ** 2 / 3 + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def lab(rgb: Array) -> Array:
    """sRGB, 0 to 255 -> CIELAB."""
    return lab_of_linear(linear(rgb))


def lab_without_green_cones(rgb: Array) -> Array:
    """The CIELAB of these colours as seen with deuteranopia."""
    return lab_of_linear(np.clip(linear(rgb) @ DEUTERANOPIA.T, 0, 1))


def difference(one: Array, other: Array) -> Array:
    """The CIEDE2000 difference of colours in CIELAB; the last axis is L, a, b, and the others are broadcast."""
    lightness1, a1, b1 = np.moveaxis(np.asarray(one, float), -1, 0)
    lightness2, a2, b2 = np.moveaxis(np.asarray(other, float), -1, 0)
    chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    a1, a2 = a1 * stretch, a2 * stretch
    chroma1, chroma2 = np.hypot(a1, b1), np.hypot(a2, b2)
    hue1, hue2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    grey = chroma1 * chroma2 == 0  # then one of them has no hue
    apart = hue2 - hue1
    turn = np.where(grey, 0, apart - 360 * (apart > 180) + 360 * (apart < -180))
    total = hue1 + hue2
    across = np.where(total < 360, total + 360, total - 360)
    hue = np.where(grey, total, np.where(np.abs(apart) > 180, across, total) / 2)
    lightness, chroma = (lightness1 + lightness2) / 2, (chroma1 + chroma2) / 2
    square = (lightness - 50) ** 2
    cosine = [np.cos(np.radians(times * hue + shift)) for times, shift in ((1, -30), (2, 0), (3, 6), (4, -63))]
    weight = 1 - 0.17 * cosine[0] + 0.24 * cosine[1] + 0.32 * cosine[2] - 0.20 * cosine[3]
    by_lightness = (lightness2 - lightness1) / (1 + 0.015 * square / np.sqrt(20 + square))
    by_chroma = (chroma2 - chroma1) / (1 + 0.045 * chroma)
    by_hue = 2 * np.sqrt(chroma1 * chroma2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * weight)
    blue = np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2)))
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) * np.sin(blue)
    return np.sqrt(by_lightness**2 + by_chroma**2 + by_hue**2 + rotation * by_chroma * by_hue)


def between_all(colours: Array) -> Array:
    """The differences of all pairs of some colours in CIELAB."""
    return difference(colours[:, None], colours[None])


def closest(rgb: Array) -> float:
    """The smallest difference between two of some colours."""
    return float(between_all(lab(rgb))[np.triu_indices(len(rgb), 1)].min())


# The test data of Sharma, Wu and Dalal (2005): L, a, b, twice, and the difference.
PUBLISHED = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425         50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.02 50 0 -82.7485 3.4412           50 -1.3802 -84.2814 50 0 -82.7485 1
50 -1.1848 -84.8006 50 0 -82.7485 1             50 -0.9009 -85.5211 50 0 -82.7485 1
50 0 0 50 -1 2 2.3669                           50 -1 2 50 0 0 2.3669
50 2.49 -0.001 50 -2.49 0.0009 7.1792           50 2.49 -0.001 50 -2.49 0.001 7.1792
50 2.49 -0.001 50 -2.49 0.0011 7.2195           50 2.49 -0.001 50 -2.49 0.0012 7.2195
50 -0.001 2.49 50 0.0009 -2.49 4.8045           50 -0.001 2.49 50 0.001 -2.49 4.8045
50 -0.001 2.49 50 0.0011 -2.49 4.7461           50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492                      50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.903                       50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1                     50 2.5 0 50 3.2972 0 1
50 2.5 0 50 1.8634 0.5757 1                     50 2.5 0 50 3.2592 0.335 1
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.263
61.2901 3.7196 -5.3901 61.4292 2.248 -4.962 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.694 23.0331 14.973 -42.5619 2.0373
36.4612 47.858 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.441 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.135 0.9033 -0.0636 -0.5514 0.9082
"""


def check_formula() -> str:
    """Compare `difference` with the published data, in both directions; a sentence about it."""
    rows = np.array(PUBLISHED.split(), float).reshape(-1, 7)
    error = max(
        np.abs(difference(rows[:, :3], rows[:, 3:6]) - rows[:, 6]).max(),
        np.abs(difference(rows[:, 3:6], rows[:, :3]) - rows[:, 6]).max(),
    )
    if not error <= 0.5001e-4:  # they are published with four decimals
        raise SystemExit(f"CIEDE2000 is wrong by {error}")
    return f"CIEDE2000: the {len(rows)} published pairs, each both ways, to within {error:.5f}"

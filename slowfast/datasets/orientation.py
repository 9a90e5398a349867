"""Display matrices of videos: how a decoded frame is turned and mirrored before it is shown."""

from typing import NamedTuple

import av
import numpy as np


class Orientation(NamedTuple):
    """Rows and columns change places, or not; then each is in order (1) or reversed (-1). All eight there are."""

    transposed: bool
    rows: int
    columns: int


UPRIGHT = Orientation(False, 1, 1)
# By quarter turns counter-clockwise.
TURNS = (UPRIGHT, Orientation(True, -1, 1), Orientation(False, -1, -1), Orientation(True, 1, -1))


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """How players show a frame: the one of the eight orientations that is nearest to its display matrix.

    The matrix (ISO 14496-12, 6.2.2) takes a pixel at (x, y) to (a x + c y, b x + d y). Its scale does not count, and
    other angles than quarter turns, which would leave corners empty, become the nearest one.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV has no name for other data of the frame, such as EXIF, and gives none of it
        return TURNS[round(frame.rotation / 90) % 4]  # does not tell mirrored ones
    if data is None:
        return UPRIGHT
    a, b, _u, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    if a * d == b * c:  # it shows a line, so nothing was meant
        return UPRIGHT
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, -1 if d < 0 else 1, -1 if a < 0 else 1)
    return Orientation(True, -1 if b < 0 else 1, -1 if c < 0 else 1)


def as_displayed(image: np.ndarray, orientation: Orientation) -> np.ndarray:
    """A view of images [..., H, W, C] (or [..., W, H, C]) as they are shown."""
    image = image.swapaxes(-3, -2) if orientation.transposed else image
    return image[..., :: orientation.rows, :: orientation.columns, :]

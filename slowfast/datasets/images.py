"""Single images of frame folders."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from slowfast.datasets.video_file import VideoError


def read_image(folder: str, name: str, number: int) -> np.ndarray:
    """Image `name` of a folder, its frame `number`, as uint8 RGB [H, W, 3].

    Raises:
        VideoError: it is missing or cannot be read.
    """
    path = Path(folder) / name
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise VideoError(folder, f"no image {name} (DATA.IMAGE_TEMPLATE)", int(number)) from error
    except (OSError, UnidentifiedImageError) as error:
        raise VideoError(folder, f"image {name} cannot be read ({error})", int(number)) from error

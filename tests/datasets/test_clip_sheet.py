import numpy as np
import pytest
from PIL import Image

from slowfast.datasets import build_dataset
from slowfast.datasets.clip_sheet import draw_clips, main


@pytest.fixture
def videos(tmp_path, write_video):
    path = write_video(tmp_path / "a video.mp4", 20)
    (tmp_path / "train.csv").write_text(f"{path} 0\n{path} 1\n{path} 2\n")
    return tmp_path


def test_every_line_is_a_clip_as_the_model_gets_it(videos, data_cfg):
    dataset = build_dataset(
        data_cfg("AUG.ENABLE", True, "AUG.NUM_SAMPLE", 2, "DATA.REVERSE_INPUT_CHANNEL", True), "train"
    )
    draw_clips(videos / "sheet.png", dataset, epoch=3, lines=4)
    sheet = np.asarray(Image.open(videos / "sheet.png"))
    assert sheet.shape == (4 * 48, 4 * 34, 3)
    samples = [sample for row in (0, 2) for sample in dataset[(3, row)]]
    for line, sample in enumerate(samples):
        for column in range(4):
            picture = sheet[48 * line + 14 : 48 * line + 46, 34 * column : 34 * column + 32]
            assert np.array_equal(picture, sample.clip.flip(0)[:, column].permute(1, 2, 0))


def test_the_command_draws_and_says_what_is_wrong(videos, monkeypatch, capsys):
    options = ["DATA.PATH_TO_DATA_DIR", str(videos), "MODEL.NUM_CLASSES", "3", "AUG.ENABLE", "True"]
    monkeypatch.setattr("sys.argv", ["clip_sheet", str(videos / "sheet.png"), "--lines", "1", *options])
    assert main() == 0
    assert Image.open(videos / "sheet.png").size == (8 * 226, 240)
    monkeypatch.setattr("sys.argv", ["clip_sheet", str(videos / "sheet.png"), *options, "AUG.AA_TYPE", "rand-x"])
    assert main() == 2
    assert "AUG.AA_TYPE" in capsys.readouterr().err

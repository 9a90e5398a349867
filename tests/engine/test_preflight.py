import pytest

from slowfast.engine.preflight import preflight


def test_a_model_that_is_not_registered_is_said_before_data_and_weights(tiny_cfg, tmp_path):
    nowhere = ("DATA.PATH_TO_DATA_DIR", str(tmp_path / "none"), "OUTPUT_DIR", str(tmp_path / "out"))
    with pytest.raises(KeyError, match="'SlowFast' is not registered"):
        preflight(tiny_cfg("MODEL.MODEL_NAME", "SlowFast", "TRAIN.ENABLE", False, *nowhere))
    assert not (tmp_path / "out").exists()

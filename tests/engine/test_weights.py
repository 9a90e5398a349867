import logging

import pytest
import torch

from slowfast.engine.train import Trainer
from slowfast.engine.weights import warn_other_settings
from slowfast.models import build_model
from slowfast.models.pretrained import load_weights
from slowfast.utils.files import CheckpointError
from slowfast.utils.logging import logger

SETTINGS = ("MODEL.MODEL_NAME", "Uniformer2d_if_lgf")


def said(monkeypatch, caplog, function) -> str:
    monkeypatch.setattr(logger, "propagate", True)
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="slowfast"):
        function()
    return caplog.text


def test_settings_that_only_a_checkpoints_configuration_tells_are_compared(run_cfg, monkeypatch, caplog, tmp_path):
    now = run_cfg(*SETTINGS, "SNN.V_THRESHOLD", 1.0)
    then = run_cfg(*SETTINGS, "SNN.V_THRESHOLD", 0.5, "SOLVER.BASE_LR", 0.5)
    expected = "The weights of w.pyth were trained with other settings: SNN.V_THRESHOLD 0.5 then, 1.0 now."
    assert expected in said(monkeypatch, caplog, lambda: warn_other_settings(now, then.dump(), "w.pyth"))
    for nothing in (now.dump(), None, {}, "- a list", "!!python/object:os.system {}", "{"):
        assert not said(monkeypatch, caplog, lambda settings=nothing: warn_other_settings(now, settings, "w.pyth"))


def test_labels_by_another_order_of_classes_are_told(run_cfg, monkeypatch, caplog):
    now, then = run_cfg(*SETTINGS), run_cfg(*SETTINGS, "DATA.EVENT_CLASS_ORDER", "spelling")
    expected = (
        "The weights of w.pyth were trained with other settings: DATA.EVENT_CLASS_ORDER spelling then, natural now."
    )
    assert expected in said(monkeypatch, caplog, lambda: warn_other_settings(now, then.dump(), "w.pyth"))


def test_weights_of_a_run_carry_its_settings(run_cfg, tmp_path, monkeypatch, caplog):
    then, now = run_cfg(*SETTINGS, "SNN.V_THRESHOLD", 0.5), run_cfg(*SETTINGS)
    model = build_model(then)
    torch.save({"model_state": model.state_dict(), "cfg": then.dump()}, tmp_path / "w.pyth")
    assert load_weights(build_model(now), tmp_path / "w.pyth").settings == then.dump()
    trainer = Trainer(now, torch.device("cpu"), "")
    start = said(monkeypatch, caplog, lambda: trainer.start_from(str(tmp_path / "w.pyth")))
    assert "w.pyth were trained with other settings: SNN.V_THRESHOLD 0.5 then, 0.2 now." in start


LARGER = ("DATA.TRAIN_CROP_SIZE", 64, "DATA.TEST_CROP_SIZE", 64, "DATA.TRAIN_JITTER_SCALES", [70, 80])
OTHERS = {  # settings then, what is said of them, and of those now
    "frames": (("DATA.NUM_FRAMES", 4), "DATA.NUM_FRAMES 4", 3),
    "size": (LARGER, "DATA.TRAIN_CROP_SIZE 64", 32),
}


@pytest.mark.parametrize("way", ["to start from", "to go on from"])
@pytest.mark.parametrize("what", OTHERS)
def test_weights_of_other_clips_are_refused_in_one_sentence(run_cfg, tmp_path, what, way):
    options, told, value = OTHERS[what]
    then, now = (
        run_cfg(*options, "SOLVER.BASE_LR", 0.5),
        run_cfg("TRAIN.CHECKPOINT_FILE_PATH", str(tmp_path / "w.pyth")),
    )
    learner = Trainer(then, torch.device("cpu"), "").learner
    state = {"epoch": 0, "model_state": learner.model.state_dict()}
    if way == "to go on from":
        state["optimizer_state"] = learner.optimizer.state_dict()
    for settings, known in (({"cfg": then.dump()}, f"trained with {told}, now {value}"), ({}, f"with {told}")):
        torch.save(state | settings, tmp_path / "w.pyth")
        with pytest.raises(CheckpointError, match=rf"w\.pyth does not fit this model[^\n]* {known}\.") as error:
            Trainer(now, torch.device("cpu"), "").start()
        assert len(str(error.value)) < 300
        assert "\n" not in str(error.value)

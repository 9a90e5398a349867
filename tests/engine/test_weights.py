import logging

import torch

from slowfast.engine.train import Trainer
from slowfast.engine.weights import warn_other_settings
from slowfast.models import build_model
from slowfast.models.pretrained import load_weights
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


def test_weights_of_a_run_carry_its_settings(run_cfg, tmp_path, monkeypatch, caplog):
    then, now = run_cfg(*SETTINGS, "SNN.V_THRESHOLD", 0.5), run_cfg(*SETTINGS)
    model = build_model(then)
    torch.save({"model_state": model.state_dict(), "cfg": then.dump()}, tmp_path / "w.pyth")
    assert load_weights(build_model(now), tmp_path / "w.pyth").settings == then.dump()
    trainer = Trainer(now, torch.device("cpu"), "")
    start = said(monkeypatch, caplog, lambda: trainer.start_from(str(tmp_path / "w.pyth")))
    assert "w.pyth were trained with other settings: SNN.V_THRESHOLD 0.5 then, 0.2 now." in start

from pathlib import Path

import pytest
import torch

from slowfast.config import write_config
from slowfast.models import build_model
from slowfast.models.convert import main
from slowfast.models.pretrained import export_weights, load_weights
from slowfast.utils.checkpoint import load_checkpoint

VIT = ("TIMESFORMER.EMBED_DIM", 16, "TIMESFORMER.DEPTH", 1, "TIMESFORMER.NUM_HEADS", 2, "TIMESFORMER.MLP_RATIO", 2)


@pytest.fixture
def cfg(tiny_cfg):
    return tiny_cfg("MODEL.MODEL_NAME", "TimeSformerMix", "SOLVER.MAX_EPOCH", 3, "DATA.SAMPLING_RATE", 2, *VIT)


@pytest.fixture
def students(cfg, tmp_path):
    """A model, and the file upstream's training would have left of it."""
    model = build_model(cfg)
    torch.save({"model_state": {f"module.{k}": v for k, v in export_weights(model).items()}}, tmp_path / "in.pyth")
    return model, tmp_path / "in.pyth"


def test_without_a_config_names_become_the_own_ones(students, tmp_path, capsys):
    model, path = students
    assert main([str(path), str(tmp_path / "out.safetensors"), "--explain"]) == 0
    torch.testing.assert_close(load_checkpoint(tmp_path / "out.safetensors"), dict(model.state_dict()))
    said = capsys.readouterr().out
    assert "values under 'model_state'" in said
    assert "kind: semi-supervised SVFormer with token mixing" in said
    assert "read by MODEL.MODEL_NAME: TimeSformer, TimeSformerMix" in said
    assert "classes: 5 (head.weight)" in said


def test_with_a_config_shapes_follow_and_upstream_can_be_written(students, cfg, tmp_path, capsys):
    model, path = students
    cfg.OUTPUT_DIR = str(tmp_path)
    config = str(write_config(cfg))
    longer = [config, "DATA.NUM_FRAMES", "6"]
    assert main([str(path), str(tmp_path / "out.pyth"), "--explain", "--cfg", *longer]) == 0
    assert "reshaped: time_embed: (1, 3, 16) -> (1, 6, 16)" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "out.pyth")["model_state"]["time_embed"].shape == (1, 6, 16)
    assert main([str(tmp_path / "out.pyth"), str(tmp_path / "back.pyth"), "--to", "upstream", "--cfg", *longer]) == 0
    assert "model.time_embed" in load_checkpoint(tmp_path / "back.pyth")["model_state"]
    load_weights(build_model(cfg), tmp_path / "back.pyth", new_head=False)


@pytest.mark.parametrize("spoil", [lambda value: value * float("inf"), torch.Tensor.bool])
@pytest.mark.parametrize("config", [True, False])
def test_weights_that_are_no_finite_floats_are_not_converted(spoil, config, students, cfg, tmp_path, capfd):
    model, path = students
    cfg.OUTPUT_DIR = str(tmp_path)
    state = torch.load(path)["model_state"]
    torch.save({"model_state": {key: spoil(value) if "head" in key else value for key, value in state.items()}}, path)
    options = ["--cfg", str(write_config(cfg))] * config
    assert main([str(path), str(tmp_path / "out.pyth"), *options]) == 1
    assert "head.weight (" in capfd.readouterr().err
    assert not (tmp_path / "out.pyth").exists()


@pytest.mark.parametrize("name", ["patch_embed2.in_lif.w", "cls_token", "pos_embed"])
def test_whole_numbers_where_every_model_has_floats_are_not_converted(name, tmp_path, capfd):
    torch.save({"model_state": {"head.weight": torch.ones(2, 2), name: torch.ones(2).long()}}, tmp_path / "in.pyth")
    assert main([str(tmp_path / "in.pyth"), str(tmp_path / "out.pyth")]) == 1
    assert f"{name} (int64)" in capfd.readouterr().err


def test_mistakes_get_one_message(tmp_path, capfd):
    with pytest.raises(SystemExit):
        main(["a.pth", "b.pth", "--to", "upstream"])
    assert "--to upstream needs --cfg FILE" in capfd.readouterr().err
    assert main([str(tmp_path / "none.pth"), "b.pth"]) == 1
    assert "No checkpoint file" in "".join(capfd.readouterr())


def test_the_tool_explains_itself(run_python):
    result = run_python(Path(__file__).parents[2] / "tools/convert_checkpoint.py", "--help")
    assert result.returncode == 0
    assert "IN OUT" in result.stdout

import pytest

from slowfast.config import ConfigError, add_preset, apply_preset, get_cfg, preset_model, presets


@pytest.fixture(autouse=True)
def own_presets(monkeypatch):
    """Presets of these tests, which no other test sees."""
    monkeypatch.setattr(presets, "PRESETS", {})
    monkeypatch.setattr(presets, "ARCHITECTURES", {})
    add_preset("Fast", "SVFormer", arch="Fast_arch", **{"SNN.TAU": 3.0, "SOLVER.CLIP_GRAD_L2NORM": 20.0})


def preset(*options):
    cfg = get_cfg()
    cfg.merge_from_list(options)
    apply_preset(cfg)
    return cfg


def test_a_preset_fills_what_is_unset_and_nothing_else():
    cfg = preset("MODEL.MODEL_NAME", "Fast", "SOLVER.CLIP_GRAD_L2NORM", 5.0)
    assert (cfg.SNN.TAU, cfg.SOLVER.CLIP_GRAD_L2NORM) == (3.0, 5.0)
    expected = get_cfg()
    expected.merge_from_list(["MODEL.MODEL_NAME", "Fast", "SNN.TAU", 3.0, "SOLVER.CLIP_GRAD_L2NORM", 5.0])
    assert cfg == expected


def test_it_fills_keys_at_their_defaults_unless_the_default_was_typed():
    add_preset("Large", "SVFormer", **{"SOLVER.MAX_EPOCH": 30})
    assert preset("MODEL.MODEL_NAME", "Large").SOLVER.MAX_EPOCH == 30
    default = get_cfg().SOLVER.MAX_EPOCH
    assert default == preset("MODEL.MODEL_NAME", "Large", "SOLVER.MAX_EPOCH", default).SOLVER.MAX_EPOCH
    cfg = get_cfg()
    cfg.MODEL.MODEL_NAME, cfg.SOLVER.MAX_EPOCH = "Large", 7
    copied = cfg.clone()
    apply_preset(copied)
    assert copied.SOLVER.MAX_EPOCH == 7


def test_none_leaves_a_key_to_the_preset_where_it_is_the_default():
    assert get_cfg().SNN.TAU is None
    assert preset("MODEL.MODEL_NAME", "Fast", "SNN.TAU", None).SNN.TAU == 3.0
    assert preset("MODEL.MODEL_NAME", "Fast", "SOLVER.CLIP_GRAD_L2NORM", 0).SOLVER.CLIP_GRAD_L2NORM == 0


def test_none_is_a_decision_where_it_is_not_the_default():
    add_preset("Reset", "SVFormer", **{"SNN.V_RESET": 0.5})
    assert get_cfg().SNN.V_RESET == 0.0
    assert preset("MODEL.MODEL_NAME", "Reset").SNN.V_RESET == 0.5
    assert preset("MODEL.MODEL_NAME", "Reset", "SNN.V_RESET", None).SNN.V_RESET is None


def test_a_presets_own_none_is_its_value():
    add_preset("Soft", "SVFormer", **{"SNN.V_RESET": None})
    assert preset("MODEL.MODEL_NAME", "Soft").SNN.V_RESET is None
    assert preset("MODEL.MODEL_NAME", "Soft", "SNN.V_RESET", 0.0).SNN.V_RESET == 0.0


def test_doing_it_again_changes_nothing():
    cfg = preset("MODEL.MODEL_NAME", "Fast")
    once = cfg.clone()
    apply_preset(cfg)
    assert cfg == once


def test_upstreams_architecture_selects_it_where_no_model_is_named():
    assert preset("MODEL.ARCH", "FAST_arch").MODEL.MODEL_NAME == "Fast"
    named = preset("MODEL.ARCH", "fast_arch", "MODEL.MODEL_NAME", "Other")
    assert (named.MODEL.MODEL_NAME, named.SNN.TAU) == ("Other", None)


def test_the_registered_model_behind_a_name():
    assert preset_model("Fast") == "SVFormer"
    assert preset_model("Other") == "Other"


def test_a_preset_of_keys_that_do_not_exist_is_refused():
    add_preset("Wrong", "SVFormer", **{"SNN.TAO": 1.0})
    with pytest.raises(ConfigError, match=r"preset Wrong: there is no config key SNN\.TAO\. Did you mean SNN\.TAU"):
        preset("MODEL.MODEL_NAME", "Wrong")
    with pytest.raises(ValueError, match="Fast is added twice"):
        add_preset("Fast", "SVFormer")

from pathlib import Path

import pytest

from slowfast.config import CfgNode, ConfigError, get_cfg
from slowfast.config.node import coerce


@pytest.mark.parametrize(
    ("typed", "default", "expected"),
    [
        ("6e-3", 0.1, 0.006),
        ("1e-6", 0.0, 1e-6),
        (1, 0.1, 1.0),
        ("30.", 0.0, 30.0),
        (5.0, 4, 5),
        ("0.1", 0, 0.1),
        ("[256, 320]", [1, 2], [256, 320]),
        ((1, 2), [0], [1, 2]),
        (3, [0], [3]),
        (256, [256, 320], [256, 256]),
        (0, [], [0]),
        ([(1, 2), [3]], [], [[1, 2], [3]]),
        ("[backbone., head.]", [], ["backbone.", "head."]),
        ([4.0, 4.0, 4.0, 4.0], 4, 4),
        ("True", False, True),
        ("true", False, True),
        ("None", 1.0, None),
        ("", None, None),
        (" ", None, None),
        ("null", None, None),
        ("{{}}", None, "{{}}"),
        ("[x", None, "[x"),
        ("- x", None, "- x"),
        ("None", "path", ""),
        (None, "path", ""),
        (Path("a/b"), "path", "a/b"),
        ({}, "{}_split.txt", "{}"),
        ("uniformer_small_in1k", None, "uniformer_small_in1k"),
        ([1], None, [1]),
        ("{}.txt", "{}_split.txt", "{}.txt"),
        ("{}", "{}_split.txt", "{}"),
        ("123", "name", "123"),
        (",", " ", ","),
    ],
)
def test_values_take_the_type_of_the_default(typed, default, expected):
    value = coerce("A.B", typed, default)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("typed", "default"),
    [
        *[("fast", 0.1), (1, False), (True, 1), ("yes please", [1]), ([1, 2], 3), ({"a": 1}, "x"), ([True], 3)],
        *[("{1}", None), ("{}", None), ("{'a': 1}", 3), ([{}], []), (True, "name"), ([1], "name"), ("2j", 1.0)],
        *[(True, 0.1), (1.0, False), (True, [1]), ([1], False), ("yes", 3)],
    ],
)
def test_values_of_another_kind_are_refused_with_the_key(typed, default):
    with pytest.raises(ConfigError, match=r"some\.yaml: A\.B is .* must be"):
        coerce("A.B", typed, default, "some.yaml")


def test_an_unknown_key_gets_the_nearest_names():
    with pytest.raises(ConfigError, match=r"SOLVER\.BASE_RL.*Did you mean SOLVER\.BASE_LR"):
        get_cfg().merge_from_list(["SOLVER.BASE_RL", "1"])
    with pytest.raises(ConfigError, match=r"Did you mean TEST\.BATCH_SIZE or TRAIN\.BATCH_SIZE"):
        get_cfg().merge_from_list(["BATCH_SIZE", "1"])


def test_a_key_in_lower_case_is_told_its_name():
    with pytest.raises(ConfigError, match=r"Did you mean SOLVER\.BASE_LR\?"):
        get_cfg().merge_from_list(["solver.base_lr", "1"])


def test_a_value_takes_the_type_of_the_default_not_of_the_value_before():
    cfg = get_cfg()
    cfg.merge_from_list(["SOLVER.CLIP_GRAD_VAL", 5, "SNN.V_RESET", None, "DATA.INPUT_CHANNEL_NUM", [3]])
    cfg.merge_from_list(["SOLVER.CLIP_GRAD_VAL", "none at all", "DATA.INPUT_CHANNEL_NUM", 1])
    assert (cfg.SOLVER.CLIP_GRAD_VAL, cfg.DATA.INPUT_CHANNEL_NUM) == ("none at all", [1, 1])
    with pytest.raises(ConfigError, match=r"SNN\.V_RESET is 'soft' and must be a number like its default 0\.0"):
        cfg.clone().merge_from_list(["SNN.V_RESET", "soft"])


def test_a_frozen_tree_stays_as_it_is():
    cfg = get_cfg()
    cfg.freeze()
    with pytest.raises(AttributeError, match="immutable"):
        cfg.merge_from_list(["SOLVER.BASE_LR", 1])


def test_merging_without_load_config_reads_bases_and_upstreams_spellings(tmp_path):
    (tmp_path / "base.yaml").write_text("SOLVER:\n  CLIP_GRADIENT: 5\n")
    (tmp_path / "run.yaml").write_text("_BASE_: base.yaml\nMIXUP:\n  ENABLED: True\n")
    cfg = get_cfg()
    cfg.merge_from_file(tmp_path / "run.yaml")
    cfg.merge_from_other_cfg({"SOLVER": {"CLIP_GRADIENT": 6}})
    assert (cfg.SOLVER.CLIP_GRAD_L2NORM, cfg.MIXUP.ENABLE) == (6, True)
    assert cfg.messages == [
        "SOLVER.CLIP_GRADIENT is read as SOLVER.CLIP_GRAD_L2NORM.",
        "MIXUP.ENABLED is read as MIXUP.ENABLE.",
    ]
    assert cfg.clone().messages == cfg.messages


def test_a_section_is_not_a_key():
    with pytest.raises(ConfigError, match=r"SOLVER is a section.*Set SOLVER\.KEY"):
        get_cfg().merge_from_list(["SOLVER", "3"])
    with pytest.raises(ConfigError, match=r"no config key MODEL\.MODEL_NAME\.FOO"):
        get_cfg().merge_from_list(["MODEL.MODEL_NAME.FOO", "1"])


def test_fresh_trees_share_nothing():
    first, second = get_cfg(), get_cfg()
    first.DATA.MEAN.append(7)
    first.DATA.NUM_FRAMES = 99
    assert second == get_cfg()
    assert isinstance(first.clone(), CfgNode)

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
        ([4.0, 4.0, 4.0, 4.0], 4, 4),
        ("True", False, True),
        ("None", 1.0, None),
        ("", None, None),
        (" ", None, None),
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
    [("fast", 0.1), (1, False), (True, 1), ("yes please", [1]), ([1, 2], 3), ({"a": 1}, "x")],
)
def test_values_of_another_kind_are_refused_with_the_key(typed, default):
    with pytest.raises(ConfigError, match=r"some\.yaml: A\.B is .* must be"):
        coerce("A.B", typed, default, "some.yaml")


def test_an_unknown_key_gets_the_nearest_names():
    with pytest.raises(ConfigError, match=r"SOLVER\.BASE_RL.*Did you mean SOLVER\.BASE_LR"):
        get_cfg().merge_from_list(["SOLVER.BASE_RL", "1"])
    with pytest.raises(ConfigError, match=r"Did you mean TEST\.BATCH_SIZE or TRAIN\.BATCH_SIZE"):
        get_cfg().merge_from_list(["BATCH_SIZE", "1"])


def test_a_section_is_not_a_key():
    with pytest.raises(ConfigError, match=r"no config key MODEL\.MODEL_NAME\.FOO"):
        get_cfg().merge_from_list(["MODEL.MODEL_NAME.FOO", "1"])


def test_fresh_trees_share_nothing():
    first, second = get_cfg(), get_cfg()
    first.DATA.MEAN.append(7)
    first.DATA.NUM_FRAMES = 99
    assert second == get_cfg()
    assert isinstance(first.clone(), CfgNode)

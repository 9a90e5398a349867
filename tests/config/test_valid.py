"""What keys may be: every declared key says it, and what is outside is refused by name."""

import math

import pytest

from slowfast.config import ConfigError, assert_and_infer_cfg, get_cfg, load_config
from slowfast.config.keys import DECLARED
from slowfast.config.valid import FLAG, TEXT, choice, either, listed, number, problem, registered, whole

NOT_NUMBERS = [math.nan, math.inf, -math.inf, True, None, "1", [1]]


@pytest.mark.parametrize(
    ("valid", "inside", "outside", "words"),
    [
        (number(0, 1), [0, 1, 0.5], [-1e-9, 1.1, *NOT_NUMBERS], "a number from 0 to 1"),
        (number(above=0), [1e-9, 10**9], [0, -1, *NOT_NUMBERS], "a number above 0"),
        (number(0, below=1), [0, 0.99], [1, *NOT_NUMBERS], "a number of at least 0, below 1"),
        (whole(1, 9), [1, 9], [0, 10, 1.0, *NOT_NUMBERS], "a whole number from 1 to 9"),
        (choice(1, 3), [1, 3], [2, True, "1", 1.0], "one of: 1, 3"),
        (FLAG, [True, False], [0, 1, "True", None], "True or False"),
        (TEXT, ["", "a b"], ["a\0b", 1, None], "text"),
        (listed(whole(0, 9), 2), [[1, 2], (0, 0)], [[1], [1, 2, 3], [1, -1], 1, "12"], "a list of 2 values, each a"),
        (listed(number(), ascending=True), [[], [1, 1, 2]], [[2, 1], [math.nan]], "in ascending order"),
        (either(choice(0.0), number(1, 2)), [0.0, 1, 2], [0.5, 3], "one of: 0.0, or a number from 1 to 2"),
        (registered({"SGD": 1, "adam": 2}), ["SGD", "adam"], ["sgd", "x", 1, None], "one of: SGD, adam"),
        (registered(["atan"], any_case=True), ["atan", "ATan"], ["tan"], "one of: atan"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_is_inside_and_outside(valid, inside, outside, words):
    assert [value for value in inside if problem(value, valid)] == []
    assert [value for value in outside if not problem(value, valid)] == []
    assert words in problem(outside[0], valid)


def test_a_registry_is_asked_when_it_is_needed():
    names = {}
    valid = registered(names)
    assert problem("later", valid)
    names["later"] = 1
    assert not problem("later", valid)


def test_a_mistyped_choice_is_told_the_nearest_and_a_long_value_is_cut():
    assert problem("cosin", choice("cosine", "steps")).endswith("Did you mean cosine?")
    assert len(problem([0] * 10**6, choice(1))) < 300


@pytest.mark.parametrize("name", DECLARED)
def test_every_key_says_what_it_may_be(name):
    """A flag is what nothing is said of; a key of another kind whose range was forgotten fails here."""
    key = DECLARED[name]
    assert not problem(key.default, key.valid, none=key.may_be_none), "its own default is refused"
    if key.valid is FLAG:
        assert isinstance(key.default, bool) or name == "TRAIN.MIXED_PRECISION"


# What no key of numbers may be, and no text, whatever its range.
NONSENSE = [math.nan, math.inf, -math.inf, -(10**30), 10**30, -1e300, 1e300, "nonsense", [], [math.nan], [[]], [None]]


@pytest.mark.parametrize("name", [name for name, key in DECLARED.items() if key.valid not in (FLAG, TEXT)])
def test_no_key_of_numbers_or_choices_takes_nonsense(name):
    taken = [value for value in NONSENSE if not problem(value, DECLARED[name].valid)]
    assert taken in ([], [[]], [10**30, 1e300]), taken


def test_the_place_of_a_wrong_value_is_told(tmp_path):
    (tmp_path / "c.yaml").write_text("SOLVER:\n  MAX_EPOCH: 1\n  CLIP_GRAD_L2NORM: -1\n")
    with pytest.raises(
        ConfigError, match=rf"{tmp_path}/c\.yaml:3: SOLVER\.CLIP_GRAD_L2NORM is -1 and must be a number"
    ):
        assert_and_infer_cfg(load_config(tmp_path / "c.yaml"))
    with pytest.raises(ConfigError, match=r"^command line: SOLVER\.CLIP_GRAD_L2NORM is -2 and"):
        assert_and_infer_cfg(load_config(tmp_path / "c.yaml", ["SOLVER.CLIP_GRAD_L2NORM", "-2"]))


def test_a_value_that_is_assigned_is_looked_at_too():
    cfg = get_cfg()
    cfg.SOLVER.BETAS = [1, 1]
    with pytest.raises(ConfigError, match=r"^SOLVER\.BETAS is \[1, 1\] and must be a list of 2 values"):
        assert_and_infer_cfg(cfg)

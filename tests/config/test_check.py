import pytest

from slowfast.config import ConfigError, assert_and_infer_cfg, get_cfg, load_config
from slowfast.config.compat import accepted_keys
from slowfast.config.unbuilt import ELSEWHERE, OTHER_RESNETS


def checked(*options):
    return assert_and_infer_cfg(load_config(None, [str(option) for option in options]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("NUM_GPUS", 4, "TRAIN.BATCH_SIZE", 6),
            r"TRAIN\.BATCH_SIZE 6 does not divide over NUM_GPUS 4.*Set .* 4",
        ),
        (("NUM_SHARDS", 2, "SHARD_ID", 2), "SHARD_ID 2 must be below NUM_SHARDS 2"),
        (("NUM_GPUS", -1), "NUM_GPUS is -1"),
        (("DATA.NUM_FRAMES", 8.5), r"DATA\.NUM_FRAMES is 8\.5 and must be a whole number"),
        (
            ("SOLVER.LR_POLICY", "cosin"),
            r"SOLVER\.LR_POLICY is 'cosin' .*cosine, steps_with_relative_lrs\. Did you mean cosine",
        ),
        (("SOLVER.COSINE_END_LR", 1), r"SOLVER\.COSINE_END_LR 1\.0 must be below SOLVER\.BASE_LR"),
        (("SOLVER.LR_POLICY", "steps_with_relative_lrs", "SOLVER.STEPS", [5, 9]), "ascending from 0"),
        (("SOLVER.OPTIMIZING_METHOD", "adamax"), "adam, adamw, sgd"),
        (("MIXUP.ENABLE", True), r"Set MODEL\.LOSS_FUNC soft_cross_entropy"),
        (("TEST.NUM_SPATIAL_CROPS", 2), "1, 3"),
        (("TEST.NUM_ENSEMBLE_VIEWS", 0), r"TEST\.NUM_ENSEMBLE_VIEWS is 0"),
        (("DATA.TRAIN_CROP_SIZE", 300), r"DATA\.TRAIN_JITTER_SCALES \[256, 320\] makes clips smaller"),
        (("DATA.TRAIN_JITTER_SCALES", [320, 256]), r"each a number of at least 1, in ascending order"),
        (("DATA.TRAIN_JITTER_SCALES", []), r"DATA\.TRAIN_JITTER_SCALES is \[\] and must be a list of 2 values"),
        (("DATA.MEAN", "[a, b, c]"), r"DATA\.MEAN is \['a', 'b', 'c'\] and must be a list of 2 or 3 values"),
        (("DATA.TARGET_FPS", 0), r"DATA\.TARGET_FPS is 0 and must be a number from 1 to 1000"),
        (("MIXUP.PROB", 3), r"MIXUP\.PROB is 3\.0 and must be a number from 0 to 1"),
        (("SOLVER.BASE_LR", None), r"SOLVER\.BASE_LR has no value.*default 0\.1"),
        (("OUTPUT_DIR", ""), "OUTPUT_DIR is empty"),
        (
            ("GLOBAL_BATCH_SIZE", 64, "SOLVER.GRADIENT_ACCUMULATION_STEPS", 2),
            "both ask for gradient accumulation",
        ),
        (("DATA.TRAIN_CROP_SCALES", [1, 1.2]), r"DATA\.TRAIN_CROP_SCALES .*at most 1"),
        (
            ("DATA.TRAIN_CROP_SCALES", [1], "AUG.ENABLE", True, "DATA.TRAIN_JITTER_SCALES_RELATIVE", [0.1, 1.0]),
            "exclude each other",
        ),
        (
            ("DATA.TRAIN_PCA_EIGVEC", [[1, 0], [0, 1]]),
            "list of 3 values, each a list of 3 values, each a number from -1 to 1",
        ),
        (("DATA.TRAIN_JITTER_ASPECT_RELATIVE", [0.75, 1.33]), r"Set DATA\.TRAIN_JITTER_SCALES_RELATIVE too"),
        (("TRAIN.AMP_DTYPE", "fp8"), "float16, bfloat16"),
        (("DATA.DECODING_BACKEND", "opencv"), "pyav, decord"),
    ],
)
def test_keys_that_do_not_go_together_are_named_with_the_fix(options, message):
    with pytest.raises(ConfigError, match=message):
        checked(*options)


def test_the_defaults_pass_and_checking_again_changes_nothing():
    cfg = checked()
    again = assert_and_infer_cfg(cfg.clone())
    assert again == cfg


def test_published_models_train_in_fp16_on_gpus_and_say_so_on_the_cpu():
    svformer = ("MODEL.MODEL_NAME", "SVFormer")
    assert checked(*svformer).TRAIN.MIXED_PRECISION is True
    on_cpu = checked(*svformer, "NUM_GPUS", 0)
    assert on_cpu.TRAIN.MIXED_PRECISION is False
    assert any("TRAIN.MIXED_PRECISION" in message for message in on_cpu.messages)
    assert checked(*svformer, "NUM_GPUS", 0, "TRAIN.MIXED_PRECISION", True).TRAIN.MIXED_PRECISION is True
    assert checked().TRAIN.MIXED_PRECISION is False


def test_learning_rates_are_scaled_by_shards_once():
    cfg = checked("NUM_SHARDS", 2, "SOLVER.BASE_LR_SCALE_NUM_SHARDS", True, "SOLVER.BASE_LR", 0.1)
    assert pytest.approx(0.2) == cfg.SOLVER.BASE_LR
    assert pytest.approx(0.2) == assert_and_infer_cfg(cfg).SOLVER.BASE_LR


def test_none_is_a_value_where_a_key_says_what_it_means():
    assert checked("SNN.V_RESET", None, "SOLVER.CLIP_GRAD_VAL", None).SNN.V_RESET is None


def test_relative_crops_free_the_jitter_scales():
    checked("AUG.ENABLE", True, "DATA.TRAIN_JITTER_SCALES_RELATIVE", [0.08, 1.0], "DATA.TRAIN_CROP_SIZE", 300)


def test_keys_that_only_the_other_model_of_a_section_reads_are_told():
    told = "UNIFORMER.SPLIT, UNIFORMER.PRETRAIN_NAME: SVFormer has no such thing, only Uniformer reads it."
    options = ("UNIFORMER.SPLIT", True, "UNIFORMER.PRETRAIN_NAME", "uniformer_small_in1k")
    for name, expected in (("Uniformer2d_psnn_try", True), ("Uniformer_S", False)):
        cfg = get_cfg()
        cfg.merge_from_list(["MODEL.MODEL_NAME", name, "DATA.TEST_CROP_SIZE", 224, *options])
        assert (told in assert_and_infer_cfg(cfg).messages) == expected


STEPS = ("SOLVER.LR_POLICY", "steps_with_relative_lrs", "SOLVER.STEPS", [0, 20])


def test_more_factors_than_steps_are_taken_and_said():
    said = "SOLVER.LRS has 4 values and SOLVER.STEPS 2: 0.01, 0.1 will not be used."
    cfg = checked(*STEPS, "SOLVER.LRS", [1, 0.5, 0.01, 0.1])
    assert cfg.SOLVER.LRS == [1, 0.5, 0.01, 0.1]
    assert assert_and_infer_cfg(cfg).messages.count(said) == 1
    assert not any("SOLVER.LRS" in message for message in checked(*STEPS, "SOLVER.LRS", [1, 0.5]).messages)
    for too_few in ([], [1]):
        with pytest.raises(ConfigError, match=r"SOLVER\.LRS has [01] values and SOLVER\.STEPS 2\. Give each step"):
            checked(*STEPS, "SOLVER.LRS", too_few)


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("NONLOCAL.LOCATION", [[[]], [[1, 3]], [[1, 3, 5]], [[]]], "non-local blocks"),
        ("NONLOCAL.LOCATION", [[[], []], [[1, 3], []], [[], []], [[], []]], "non-local blocks"),
        ("NONLOCAL.LOCATION", [[[]], [[]], [[]], [[0]]], "non-local blocks"),
        ("DETECTION.ENABLE", True, "detection"),
        ("MULTIGRID.SHORT_CYCLE", True, "multigrid"),
        ("SOLVER.LAYER_DECAY", 0.75, "layer"),
        ("TASK", "ssl", "self-supervised"),
        ("DATA.MULTI_LABEL", True, "several labels"),
    ],
)
def test_what_upstream_would_compute_otherwise_is_refused(key, value, what):
    with pytest.raises(ConfigError, match=rf"{key} .*asks for .*{what}.*not built.*Remove the key"):
        checked(key, value)


@pytest.mark.parametrize("nothing", [[], [[[]], [[]], [[]], [[]]], [[[], []], [[], []], [[], []], [[], []]], None])
def test_no_non_local_blocks_in_any_form_are_none(nothing):
    checked("NONLOCAL.LOCATION", nothing, "DETECTION.ENABLE", False, "MULTIGRID.LONG_CYCLE", None, "TASK", "")


def test_no_layer_before_the_head_may_be_written_as_0():
    checked("UNIFORMER.REPRESENTATION_SIZE", 0)


def test_another_resnet_is_refused_where_a_resnet_is_built():
    strides = ("RESNET.SPATIAL_STRIDES", [[1], [2], [2], [1]])
    with pytest.raises(ConfigError, match=r"RESNET\.SPATIAL_STRIDES .*not built"):
        checked("MODEL.MODEL_NAME", "Slow", *strides)
    with pytest.raises(ConfigError, match=r"MODEL\.HEAD_ACT 'sigmoid' asks for another activation .*not built"):
        checked("MODEL.MODEL_NAME", "Slow", "MODEL.HEAD_ACT", "sigmoid")
    checked("MODEL.MODEL_NAME", "Slow", "RESNET.SPATIAL_STRIDES", [1, 2, 2, 2])
    checked("MODEL.MODEL_NAME", "SVFormer", *strides)


def test_every_key_that_is_refused_is_one_that_is_accepted_at_its_default():
    keys = accepted_keys()["not_built"]
    assert keys.keys() >= {*ELSEWHERE, *OTHER_RESNETS}
    checked(*(word for key in (*ELSEWHERE, *OTHER_RESNETS) for word in (key, keys[key])), "MODEL.MODEL_NAME", "Slow")

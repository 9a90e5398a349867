import pytest

from slowfast.config import ConfigError, assert_and_infer_cfg, get_cfg, load_config


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
        (("SOLVER.LR_POLICY", "cosin"), r"SOLVER\.LR_POLICY is 'cosin'.*cosine, steps_with_relative_lrs"),
        (("SOLVER.COSINE_END_LR", 1), r"SOLVER\.COSINE_END_LR 1\.0 must be below SOLVER\.BASE_LR"),
        (("SOLVER.LR_POLICY", "steps_with_relative_lrs", "SOLVER.STEPS", [5, 9]), "ascending from 0"),
        (("SOLVER.OPTIMIZING_METHOD", "adamax"), "sgd, adam, adamw"),
        (("MIXUP.ENABLE", True), r"Set MODEL\.LOSS_FUNC soft_cross_entropy"),
        (("TEST.NUM_SPATIAL_CROPS", 2), "1, 3"),
        (("TEST.NUM_ENSEMBLE_VIEWS", 0), r"TEST\.NUM_ENSEMBLE_VIEWS is 0"),
        (("DATA.TRAIN_CROP_SIZE", 300), r"DATA\.TRAIN_JITTER_SCALES \[256, 320\] makes clips smaller"),
        (("DATA.TRAIN_JITTER_SCALES", [320, 256]), r"\[low, high\]"),
        (("DATA.TRAIN_JITTER_SCALES", []), r"DATA\.TRAIN_JITTER_SCALES is \[\] and must be a list of 2 numbers"),
        (("DATA.MEAN", "[a, b, c]"), r"DATA\.MEAN is \['a', 'b', 'c'\] and must be a list of 2 or 3"),
        (("DATA.TARGET_FPS", 0), r"DATA\.TARGET_FPS is 0 and must be at least 1"),
        (("MIXUP.PROB", 3), r"MIXUP\.PROB is 3\.0 and must be from 0 to 1"),
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
        (("DATA.TRAIN_PCA_EIGVEC", [[1, 0], [0, 1]]), "three rows of three"),
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

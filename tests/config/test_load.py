import pytest
import yaml

from slowfast.config import (
    ConfigError,
    assert_and_infer_cfg,
    describe_diff,
    diff_to_defaults,
    get_cfg,
    load_config,
    parse_args,
    write_config,
)


@pytest.fixture
def write(tmp_path):
    def file(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return file


def test_files_bases_and_options_override_each_other_in_order(write):
    write("base.yaml", "SOLVER:\n  BASE_LR: 1\n  MAX_EPOCH: 7\n  MOMENTUM: 0.5\n")
    file = write("run.yaml", "_BASE_: base.yaml\nSOLVER:\n  BASE_LR: 2\n  MAX_EPOCH: 8\n")
    cfg = load_config(file, ["SOLVER.BASE_LR", "3"])
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_EPOCH, cfg.SOLVER.MOMENTUM) == (3.0, 8, 0.5)


def test_bases_that_lead_back_are_refused(write):
    file = write("a.yaml", "_BASE_: b.yaml\n")
    write("b.yaml", "_BASE_: a.yaml\n")
    with pytest.raises(ConfigError, match="leads back to itself"):
        load_config(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SOLVER:\n  BASE_LR: [\n", r"bad\.yaml:3: not valid YAML"),
        ("- 1\n", r"bad\.yaml: a config is sections"),
        ("SOLVER:\n  BASE_LT: 1\n", r"bad\.yaml: .*Did you mean SOLVER\.BASE_LR"),
        ("SOLVER: 3\n", r"bad\.yaml: SOLVER is 3"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_name(write, text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(write("bad.yaml", text))


def test_a_missing_file_is_said():
    with pytest.raises(ConfigError, match=r"Cannot read config file nowhere\.yaml"):
        load_config("nowhere.yaml")


def test_an_option_without_a_value_is_said():
    with pytest.raises(ConfigError, match=r"'NUM_GPUS' is left over"):
        load_config(None, ["RNG_SEED", "1", "NUM_GPUS"])


def test_both_command_lines_of_upstream():
    one = parse_args(["--cfg", "exp/a.yaml", "NUM_GPUS", "0", "SOLVER.BASE_LR", "6e-3"])
    assert (one.cfg_files, one.opts) == (["exp/a.yaml"], ["NUM_GPUS", "0", "SOLVER.BASE_LR", "6e-3"])
    assert (one.shards, one.init_method) == ({}, None)
    two = parse_args(
        [
            "--cfg",
            "a.yaml",
            "b.yaml",
            "--num_shards",
            "2",
            "--shard_id",
            "1",
            "--init_method",
            "tcp://h:1",
            "--opts",
            "NUM_GPUS",
            "0",
            "DATA.MEAN",
            "[0, 0, 0]",
        ]
    )
    assert (two.cfg_files, two.opts) == (["a.yaml", "b.yaml"], ["NUM_GPUS", "0", "DATA.MEAN", "[0, 0, 0]"])
    assert (two.shards, two.init_method) == ({"NUM_SHARDS": 2, "SHARD_ID": 1}, "tcp://h:1")
    after_flags = parse_args(["--num_shards", "1", "--cfg", "a.yaml", "NUM_GPUS", "-1"])
    assert (after_flags.cfg_files, after_flags.opts) == (["a.yaml"], ["NUM_GPUS", "-1"])


def test_flags_override_the_file_only_when_given(write):
    file = write("a.yaml", "NUM_SHARDS: 3\n")
    assert load_config(file).NUM_SHARDS == 3
    assert load_config(file, [], {"NUM_SHARDS": 2}).NUM_SHARDS == 2


def test_a_run_repeats_from_the_config_it_wrote(tmp_path):
    options = ["MODEL.MODEL_NAME", "Uniformer2d_psnn_lgf", "SOLVER.COSINE_END_LR", "1e-6", "NUM_SHARDS", "4"]
    cfg = load_config(None, [*options, "OUTPUT_DIR", str(tmp_path), "SOLVER.BASE_LR_SCALE_NUM_SHARDS", "True"])
    assert_and_infer_cfg(cfg)
    assert pytest.approx(0.4) == cfg.SOLVER.BASE_LR
    again = assert_and_infer_cfg(load_config(write_config(cfg)))
    assert again == cfg
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_the_diff_shows_what_was_changed_and_nothing_else():
    cfg = load_config(None, ["DATA.NUM_FRAMES", "16", "TENSORBOARD.HISTOGRAM.TOPK", "3"])
    assert diff_to_defaults(cfg) == {"DATA.NUM_FRAMES": (8, 16), "TENSORBOARD.HISTOGRAM.TOPK": (10, 3)}
    assert "DATA.NUM_FRAMES" in describe_diff(cfg)
    assert "(default 8)" in describe_diff(cfg)
    assert diff_to_defaults(get_cfg()) == {}


def test_keys_without_effect_are_said_once_and_only_if_typed(write):
    file = write("a.yaml", yaml.dump({"AUG": {"RE_SPLIT": False, "AA_TYPE": "rand-m7"}, "MVIT": {"DEPTH": 3}}))
    messages = load_config(file, ["AUG.RE_SPLIT", "True"]).messages
    assert messages == [
        "accepted, has no effect (upstream never reads them either): AUG.RE_SPLIT",
        "accepted, has no effect (they belong to parts not built): AUG.AA_TYPE, MVIT.DEPTH",
    ]
    assert load_config(None).messages == []


def test_upstreams_other_spellings_are_translated_and_said():
    cfg = load_config(None, ["SOLVER.CLIP_GRADIENT", "5.0", "MIXUP.ENABLED", "True", "DATA.DECODING_BACKEND", "decord"])
    assert (cfg.SOLVER.CLIP_GRAD_L2NORM, cfg.MIXUP.ENABLE) == (5.0, True)
    assert cfg.messages[0] == "SOLVER.CLIP_GRADIENT is read as SOLVER.CLIP_GRAD_L2NORM."
    assert "decoded by PyAV" in cfg.messages[2]

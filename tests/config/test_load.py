import os
from pathlib import Path

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

BASES = Path(__file__).parents[2] / "configs/_base_"


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
        ("SOLVER:\n  BASE_LT: 1\n", r"bad\.yaml:2: .*Did you mean SOLVER\.BASE_LR"),
        ("SOLVER: 3\n", r"bad\.yaml:1: SOLVER is a section"),
        ("A: 1\nB\n", r"bad\.yaml:3: not valid YAML"),
        ("SOLVER:\n\n  NESTEROV: 1\n", r"bad\.yaml:3: SOLVER\.NESTEROV is 1 and must be True or False"),
        ("_BASE_: gone.yaml\n", r"Cannot read .*gone\.yaml: .*the path after _BASE_ in .*bad\.yaml"),
        ("_BASE_: 7\n", r"bad\.yaml:1: _BASE_ is .*7.* must be a file name"),
        ("NUM_GPUS: 0\n_BASE_: ~nosuchuser/x\n", r"bad\.yaml:2: _BASE_ ~nosuchuser/x: there is no home folder of"),
        ('_BASE_: "a\\0b"\n', r"bad\.yaml:1: _BASE_ .*null byte"),
        ("_BASE_: " + 10**5 * "x" + "\n", r"bad\.yaml:1: _BASE_: no value may be as long as 'xxx"),
        ("TRAIN: &t\n  DATASET: x\n  A: *t\n", r"bad\.yaml:1: TRAIN holds itself: an alias"),
        ("SOLVER:\n  LRS: &l [1, [*l]]\n", r"bad\.yaml:2: SOLVER\.LRS holds itself"),
        ("A: &a\n  <<: *a\n", r"bad\.yaml:1: A holds itself"),
        ("TRAIN:\n  ENABLE: !!bool maybe\n", r"bad\.yaml:2: TRAIN\.ENABLE: not valid YAML: 'maybe' is no bool"),
        (
            "SOLVER: {MOMENTUM: 1, BASE_LR: !!float abc}\n",
            r":1: SOLVER\.BASE_LR: not valid YAML: 'abc' is no float",
        ),
        ("SOLVER:\n  LRS: [1,\n   !!int x]\n", r"bad\.yaml:3: SOLVER\.LRS: not valid YAML: 'x' is no int"),
        (
            "SOLVER:\n  BASE_LR: 2024-99-99\n",
            r":2: SOLVER\.BASE_LR: not valid YAML: '2024-99-99' is no time",
        ),
        ("SOLVER:\n  BASE_LR: !!python/name:os.system\n", r"bad\.yaml:2: SOLVER\.BASE_LR: not valid YAML: could not"),
        ("SOLVER:\n  BASE_LR: " + 5000 * "9" + "\n", r"bad\.yaml:2: SOLVER\.BASE_LR: no value may be as long as '999"),
        ("? [a]\n: 1\n", r"bad\.yaml:1: not valid YAML: found unhashable key"),
        (f"A: {5000 * '['}", r"bad\.yaml: brackets or sections within each other, too many"),
        ("A: \0\n", r"bad\.yaml:1: there is a NUL byte"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_name(write, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(write("bad.yaml", text))
    assert len(str(caught.value)) < 1000


def test_aliases_of_aliases_are_refused_before_they_are_written_out(write):
    for start, end in (("[", "]"), ("{A: 1, ", "}")):
        levels = [f"L0: &l0 {start}{end}"]
        for i in range(1, 40):
            inner = f"*l{i - 1}, *l{i - 1}" if start == "[" else f"B: *l{i - 1}, C: *l{i - 1}"
            levels.append(f"L{i}: &l{i} {start}{inner}{end}")
        with pytest.raises(ConfigError, match=r"bad\.yaml: its aliases stand for more than 100000 values"):
            load_config(write("bad.yaml", "\n".join(levels)))


def test_an_anchor_may_be_used_again(write):
    cfg = load_config(write("a.yaml", "DATA:\n  MEAN: &m [0.1, 0.2, 0.3]\n  STD: *m\n"))
    assert cfg.DATA.MEAN == cfg.DATA.STD == [0.1, 0.2, 0.3]


def test_a_home_that_cannot_be_found_is_said_for_the_file_too():
    with pytest.raises(ConfigError, match=r"--cfg ~nosuchuser/a\.yaml: there is no home folder of ~nosuchuser\. Write"):
        load_config("~nosuchuser/a.yaml")


def test_a_config_that_is_a_pipe_or_huge_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match=r"pipe\.yaml: it is a pipe, not a file\. Check the path after --cfg"):
        load_config(tmp_path / "pipe.yaml")
    (tmp_path / "huge.yaml").write_bytes(b"#" * 2**21)
    with pytest.raises(ConfigError, match=r"huge\.yaml: it has 2,097,152 bytes"):
        load_config(tmp_path / "huge.yaml")


def test_a_config_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.yaml").write_text("NUM_GPUS: 0\n", encoding="utf-8-sig")
    assert load_config(tmp_path / "a.yaml").NUM_GPUS == 0


def test_a_missing_file_is_said():
    with pytest.raises(ConfigError, match=r"Cannot read config file nowhere\.yaml"):
        load_config("nowhere.yaml")


def test_a_file_that_is_no_text_is_said(tmp_path):
    (tmp_path / "model.pyth").write_bytes(b"\x80\x02\xff")
    with pytest.raises(ConfigError, match=r"model\.pyth:1: there is the control .* Check the path after --cfg"):
        load_config(tmp_path / "model.pyth")


def test_a_section_with_all_its_keys_commented_out_changes_nothing(write):
    cfg = load_config(write("a.yaml", "SOLVER:\n  # BASE_LR: 3\nTRAIN: {}\n"))
    assert cfg == get_cfg()


def test_a_bare_pair_of_braces_is_text_where_text_is_wanted(write):
    assert load_config(write("a.yaml", "DATA:\n  LABEL_PATH_TEMPLATE: {}\n")).DATA.LABEL_PATH_TEMPLATE == "{}"
    assert load_config(None, ["DATA.LABEL_PATH_TEMPLATE", "{}"]).DATA.LABEL_PATH_TEMPLATE == "{}"


def test_a_key_that_stands_twice_is_said(write):
    file = write("a.yaml", "SOLVER:\n  BASE_LR: 1\nNUM_GPUS: 0\nSOLVER:\n  MAX_EPOCH: 3\n  MAX_EPOCH: 4\n")
    cfg = load_config(file)
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MAX_EPOCH) == (0.1, 4)
    assert cfg.messages == [
        f"{file}:4: SOLVER stands twice; what line 1 says of it is not used.",
        f"{file}:6: SOLVER.MAX_EPOCH stands twice; what line 5 says of it is not used.",
    ]


def test_several_bases_and_bases_of_bases_are_found_from_their_own_folder(tmp_path, write):
    (tmp_path / "deep").mkdir()
    write("deep/a.yaml", "_BASE_: ../top.yaml\nSOLVER:\n  MAX_EPOCH: 5\n")
    write("top.yaml", "SOLVER:\n  MAX_EPOCH: 4\n  MOMENTUM: 0.5\n")
    write("b.yaml", "SOLVER:\n  MAX_EPOCH: 6\n")
    cfg = load_config(write("run.yaml", "_BASE_: [deep/a.yaml, b.yaml]\nNUM_GPUS: 0\n"))
    assert (cfg.SOLVER.MAX_EPOCH, cfg.SOLVER.MOMENTUM) == (6, 0.5)


@pytest.mark.parametrize("file", sorted(BASES.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_base_config_loads_and_says_nothing(file):
    cfg = load_config(file)
    assert cfg.messages == []
    assert {key.split(".")[0] for key in diff_to_defaults(cfg)} <= {"TRAIN", "TEST", "MODEL", "DATA"}
    assert_and_infer_cfg(cfg)


def test_an_option_without_a_value_is_said():
    with pytest.raises(ConfigError, match=r"'NUM_GPUS' is left over"):
        load_config(None, ["RNG_SEED", "1", "NUM_GPUS"])
    with pytest.raises(ConfigError, match=r"Type NUM_GPUS 0\."):
        load_config(None, ["NUM_GPUS=0"])


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


@pytest.mark.parametrize(
    ("words", "files", "opts"),
    [
        (["a.yaml", "SOLVER.BASE_LR", "-1e-3"], ["a.yaml"], ["SOLVER.BASE_LR", "-1e-3"]),
        (["a.yaml", "--opts", "SOLVER.BASE_LR", "-1e-3"], ["a.yaml"], ["SOLVER.BASE_LR", "-1e-3"]),
        (["a.yaml", "solver.base_lr", "1"], ["a.yaml"], ["solver.base_lr", "1"]),
        (["a.yaml", "X3D.CHANNELWISE_3x3x3", "True"], ["a.yaml"], ["X3D.CHANNELWISE_3x3x3", "True"]),
        (["a.yaml", "UNIFORMER.PRETRAIN_NAME", " "], ["a.yaml"], ["UNIFORMER.PRETRAIN_NAME", " "]),
        (["a.yaml", "TRAIN.CHECKPOINT_FILE_PATH", "b.yaml"], ["a.yaml"], ["TRAIN.CHECKPOINT_FILE_PATH", "b.yaml"]),
        (["config_without_suffix"], ["config_without_suffix"], []),
    ],
)
def test_files_end_where_keys_begin(words, files, opts):
    args = parse_args(["--cfg", *words])
    assert (args.cfg_files, args.opts) == (files, opts)


def test_a_file_that_exists_needs_no_suffix(write):
    second = str(write("config", ""))
    assert parse_args(["--cfg", "a.yaml", second]).cfg_files == ["a.yaml", second]


def test_a_config_without_its_flag_is_said(capsys):
    with pytest.raises(SystemExit):
        parse_args(["exp/a.yaml", "NUM_GPUS", "0"])
    assert "come after --cfg" in capsys.readouterr().err


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


def test_the_written_config_repeats_the_messages_of_typed_keys_only(tmp_path):
    cfg = load_config(None, ["OUTPUT_DIR", str(tmp_path), "AUG.RE_SPLIT", "True"])
    again = load_config(write_config(cfg))
    assert again == cfg
    assert again.messages == cfg.messages
    assert len(again.messages) == 1


def test_text_that_looks_like_something_else_survives_writing(tmp_path):
    texts = ["1e-6", "true", "{}", ", ", "#1", "é: [", "~"]
    for text in texts:
        cfg = load_config(None, ["OUTPUT_DIR", str(tmp_path), "DATA.PATH_PREFIX", text])
        assert text == load_config(write_config(cfg)).DATA.PATH_PREFIX


def test_the_diff_shows_what_was_changed_and_nothing_else():
    cfg = load_config(None, ["DATA.NUM_FRAMES", "16", "TENSORBOARD.HISTOGRAM.TOPK", "3"])
    assert diff_to_defaults(cfg) == {"DATA.NUM_FRAMES": (8, 16), "TENSORBOARD.HISTOGRAM.TOPK": (10, 3)}
    assert "DATA.NUM_FRAMES" in describe_diff(cfg)
    assert "(default 8)" in describe_diff(cfg)
    assert diff_to_defaults(get_cfg()) == {}


def test_keys_without_effect_are_said_once_and_only_if_typed(write):
    file = write("a.yaml", yaml.dump({"AUG": {"RE_SPLIT": False, "MASK_RATIO": 0.5}, "MVIT": {"DEPTH": 3}}))
    messages = load_config(file, ["AUG.RE_SPLIT", "True"]).messages
    assert messages == [
        "accepted, has no effect (upstream never reads them either): AUG.RE_SPLIT",
        "accepted, has no effect (they belong to parts not built): AUG.MASK_RATIO, MVIT.DEPTH",
    ]
    assert load_config(None).messages == []


def test_upstreams_other_spellings_are_translated_and_said():
    cfg = load_config(None, ["SOLVER.CLIP_GRADIENT", "5.0", "MIXUP.ENABLED", "True", "DATA.DECODING_BACKEND", "decord"])
    assert (cfg.SOLVER.CLIP_GRAD_L2NORM, cfg.MIXUP.ENABLE) == (5.0, True)
    assert cfg.messages[0] == "SOLVER.CLIP_GRADIENT is read as SOLVER.CLIP_GRAD_L2NORM."
    assert "decoded by PyAV" in cfg.messages[2]

"""Configs of SlowFast, UniFormer and SVFormer users are accepted."""

import itertools
from pathlib import Path

import pytest
import yaml

from slowfast.config import ConfigError, get_cfg, load_config
from slowfast.config.compat import ALIASES, translate
from slowfast.config.keys import DECLARED, accepted_keys
from slowfast.config.node import decode, flatten

REPOSITORY = Path(__file__).parents[2]
TYPED = yaml.safe_load((REPOSITORY / "tests/data/upstream_values.yaml").read_text())
FACTS = REPOSITORY.parent / "shared/compat/keys.yaml"

# Where we chose another default, and why.
OTHER_DEFAULTS = {
    "TRAIN.MIXED_PRECISION",  # None: as the model's publication
    "GLOBAL_BATCH_SIZE",  # off, or every config would accumulate to 64
    "MODEL.SINGLE_PATHWAY_ARCH",
    "DATA.DECODING_SHORT_SIZE",  # off: upstream never reads it, so published results have frames in full size
}


@pytest.mark.parametrize("key", TYPED)
def test_every_key_users_type_is_accepted_with_their_values(key):
    for value in TYPED[key]:
        load_config(None, [key, value])
    assert translate({key: 0})[0].keys() <= flatten(get_cfg()).keys()


def test_a_whole_file_of_them_loads(tmp_path):
    lines = {key: decode(values[-1]) for key, values in TYPED.items() if values}
    tree = {}
    for key, value in lines.items():
        node = tree
        *sections, name = key.split(".")
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = value
    (tmp_path / "all.yaml").write_text(yaml.dump(tree))
    cfg = load_config(tmp_path / "all.yaml")
    assert cfg.SOLVER.COSINE_END_LR == 1e-6


@pytest.mark.skipif(not FACTS.exists(), reason="the table of upstream's keys is not beside the repository")
def test_every_upstream_key_exists_with_upstreams_default():
    facts = yaml.safe_load(FACTS.read_text())["yacs_keys"]
    ours = flatten(get_cfg())
    for key, fact in facts.items():
        if key in ALIASES:
            continue
        assert key in ours, key
        default = fact["default"]
        personal = isinstance(default, str) and default.startswith("/")
        if "default_by_repo" not in fact and key not in OTHER_DEFAULTS and not personal:
            assert ours[key] == default, key


@pytest.mark.skipif(not FACTS.exists(), reason="the table of upstream's keys is not beside the repository")
def test_the_copy_of_typed_values_is_complete():
    facts = yaml.safe_load(FACTS.read_text())["yacs_keys"]
    for key, fact in facts.items():
        for value in itertools.chain(*fact.get("values_seen_in_exp_files", {}).values()):
            somebodys = "$" in value or value.startswith(("/", "your_"))
            assert somebodys or not value.strip() or value in TYPED[key], key


def test_a_key_is_declared_or_accepted_never_both():
    groups = accepted_keys()
    assert not groups["never_read"].keys() & groups["not_built"].keys()
    for group in groups.values():
        assert not group.keys() & DECLARED.keys()


def test_aliases_lead_to_keys_that_exist():
    ours = flatten(get_cfg())
    for alias, key in ALIASES.items():
        assert key in ours
        assert alias not in ours


def test_what_becomes_of_a_value_is_said():
    messages = load_config(None, ["TRAIN.SAVE_LATEST", "False", "DATA.DECODING_BACKEND", "torchvision"]).messages
    assert messages[:2] == [
        "TRAIN.SAVE_LATEST: the last epoch is always saved.",
        "DATA.DECODING_BACKEND torchvision: torchvision no longer reads videos, PyAV decodes them.",
    ]


def test_a_shells_unexpanded_variable_is_refused():
    with pytest.raises(ConfigError, match=r"NUM_SHARDS is '\$NUM_SHARDS'"):
        load_config(None, ["NUM_SHARDS", "$NUM_SHARDS"])

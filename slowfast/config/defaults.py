"""Every shared config key: default, meaning, unit. A model or layer declares its own section beside itself."""

from typing import NamedTuple

from slowfast.config.compat import accepted_keys
from slowfast.config.node import CfgNode


class Key(NamedTuple):
    """A declared key: its default, what it means, in which unit."""

    default: object
    meaning: str
    unit: str = ""


DECLARED: dict[str, Key] = {}


def add_section(section: str, keys: dict[str, tuple]) -> None:
    """Declares keys of a section ("" for the top level): name -> (default, meaning[, unit]).

    A name may have dots for a section inside the section. Called at import, by the file that reads the keys.
    """
    for name, key in keys.items():
        full = f"{section}.{name}" if section else name
        if full in DECLARED:
            raise ValueError(f"Config key {full} is declared twice.")
        DECLARED[full] = Key(*key)


def get_cfg() -> CfgNode:
    """A fresh config tree of all declared and accepted keys at their defaults."""
    groups = accepted_keys()
    keys = groups["never_read"] | groups["not_built"] | {name: key.default for name, key in DECLARED.items()}
    return CfgNode.from_defaults(keys)


add_section(
    "",
    {
        "NUM_GPUS": (1, "GPUs of this machine to use, a process each; 0 runs on the CPU (DIST.CPU_PROCESSES)."),
        "NUM_SHARDS": (1, "Machines that take part (torchrun's environment overrides it)."),
        "SHARD_ID": (0, "Which of NUM_SHARDS this machine is, from 0."),
        "OUTPUT_DIR": ("./tmp", "Folder of logs, checkpoints, predictions and reports."),
        "RNG_SEED": (1, "Seed of the weights, the order of the data and every random draw."),
        "CPU_THREADS": (
            0,
            "Threads of torch in each process. 0: OMP_NUM_THREADS if it is set (torchrun sets 1 for several "
            "processes), else on GPUs torch's choice and on the CPU as many as help, by the cores, the loader "
            "processes and the size of a step; the log says how many and why. The number changes how sums are rounded.",
        ),
        "DIST_BACKEND": ("nccl", "Backend of torch.distributed on GPUs; the CPU always uses gloo."),
        "LOG_PERIOD": (10, "Steps between two log lines.", "steps"),
        "LOG_MODEL_INFO": (True, "Log parameters and FLOPs before training."),
        "GLOBAL_BATCH_SIZE": (0, "Accumulate gradients to this many clips over all processes; 0: off.", "clips"),
    },
)

add_section(
    "DIST",
    {
        "CPU_PROCESSES": (1, "Processes of this machine with NUM_GPUS 0; TRAIN.BATCH_SIZE is divided over them."),
        "STRATEGY": ("ddp", "ddp: a whole model in each process; fsdp: its blocks sharded over all (FSDP2)."),
        "TIMEOUT": (600, "How long a process waits for the others before the job ends.", "s"),
    },
)

add_section(
    "TRAIN",
    {
        "ENABLE": (True, "Train (before testing)."),
        "DATASET": ("kinetics", "Registered data set of the train and val splits."),
        "BATCH_SIZE": (64, "Videos a step on one machine, over its GPUs.", "videos"),
        "EVAL_PERIOD": (10, "Epochs between validations; the last epoch is always validated.", "epochs"),
        "CHECKPOINT_PERIOD": (10, "Epochs between checkpoints; the last epoch is always saved.", "epochs"),
        "CHECKPOINT_EVERY_STEPS": (0, "Also save after this many steps, within epochs; 0: off.", "steps"),
        "CHECKPOINT_EVERY_MINUTES": (0.0, "Also save when this much time has passed; 0: off.", "minutes"),
        "KEEP_CHECKPOINTS": (0, "Epoch checkpoints to keep, the newest; 0: all. The best is kept besides."),
        "MAX_NONFINITE_STEPS": (10, "Steps in a row with a NaN or infinite loss or gradient that are only skipped."),
        "AUTO_RESUME": (True, "Go on from OUTPUT_DIR's newest checkpoint if there is one."),
        "RESUME_CHANGED": (False, "Let a resumed run go on although keys that decide its weights have changed."),
        "CHECKPOINT_FILE_PATH": ("", "Checkpoint to start from when OUTPUT_DIR has none."),
        "CHECKPOINT_EPOCH_RESET": (False, "Take only the weights of CHECKPOINT_FILE_PATH, and start at epoch 0."),
        "CHECKPOINT_CLEAR_NAME_PATTERN": ([], "Parts removed from the names in CHECKPOINT_FILE_PATH."),
        "MIXED_PRECISION": (None, "Train under autocast. None: as the model's publication on GPUs, else off."),
        "AMP_DTYPE": ("float16", "Type under autocast: float16 (with loss scaling) or bfloat16."),
    },
)

add_section(
    "TEST",
    {
        "ENABLE": (True, "Test (after training)."),
        "DATASET": ("kinetics", "Registered data set of the test split."),
        "BATCH_SIZE": (8, "Views a step on one machine, over its GPUs.", "views"),
        "CHECKPOINT_FILE_PATH": ("", "Weights to test; empty: the best (TEST_BEST) or last of OUTPUT_DIR."),
        "NUM_ENSEMBLE_VIEWS": (
            10,
            "Clips taken from a video along time; -1: accuracy with 1, 3, 5, 7 and 10.",
            "clips",
        ),
        "NUM_SPATIAL_CROPS": (3, "Crops of each clip: 3 (left, centre, right) or 1 (centre)."),
        "SAVE_RESULTS_PATH": ("", "File in OUTPUT_DIR for a pickle [predictions, labels]; empty: none."),
        "TEST_BEST": (False, "Test the best validated weights of OUTPUT_DIR instead of the last."),
    },
)

add_section(
    "DATA",
    {
        "PATH_TO_DATA_DIR": ("", "Folder of the lists train.csv, val.csv, test.csv."),
        "PATH_LABEL_SEPARATOR": (" ", "Text between path and label in a list line."),
        "PATH_PREFIX": ("", "Folder put before every path of the lists."),
        "NUM_FRAMES": (8, "Frames of a clip; a spiking model's time steps.", "frames"),
        "SAMPLING_RATE": (8, "Distance between a clip's frames.", "frames"),
        "TARGET_FPS": (
            30,
            "Frame rate SAMPLING_RATE refers to; not used with DECODING_BACKEND decord.",
            "1/s",
        ),
        "MEAN": ([0.45, 0.45, 0.45], "Subtracted from the pixels, after scaling them to 0 .. 1."),
        "STD": ([0.225, 0.225, 0.225], "Divisor of the pixels, after MEAN."),
        "INPUT_CHANNEL_NUM": ([3, 3], "Channels of the input (the first value)."),
        "TRAIN_JITTER_SCALES": ([256, 320], "Range of the short side in training.", "pixels"),
        "TRAIN_JITTER_SCALES_RELATIVE": (
            [],
            "Range of the crop's share of the area (AUG.ENABLE); empty: off.",
        ),
        "TRAIN_JITTER_ASPECT_RELATIVE": ([], "Range of that crop's aspect ratio."),
        "TRAIN_JITTER_MOTION_SHIFT": (False, "Let the crop move over the clip, between two draws (AUG.ENABLE)."),
        "TRAIN_CROP_SCALES": (
            [],
            "Multi-scale crops (TSN, ReSpike): shares of the short side that a training crop's height and width take, "
            "such as [1, 0.875, 0.75, 0.66], instead of TRAIN_JITTER_SCALES; empty: off.",
        ),
        "TRAIN_JITTER_FPS": (0.0, "TARGET_FPS is raised by up to this in training.", "1/s"),
        "TRAIN_CROP_SIZE": (224, "Side of the square crop in training and validation.", "pixels"),
        "TEST_CROP_SIZE": (256, "Side of the square crop in testing.", "pixels"),
        "RESIZE_ANTIALIAS": (False, "Resize clips with antialiasing: better pictures, other numbers than upstream's."),
        "RANDOM_FLIP": (
            True,
            "Mirror half of the training clips, but none of a class that classes.json beside the lists names with the "
            "word left or right.",
        ),
        "SSL_COLOR_JITTER": (False, "Change the colours of training clips at random, each clip in one way."),
        "SSL_COLOR_BRI_CON_SAT": ([0.4, 0.4, 0.4], "Factors of brightness, contrast, saturation are 1 +- these."),
        "SSL_COLOR_HUE": (0.1, "Hues turn by up to this share of the circle, either way."),
        "COLOR_RND_GRAYSCALE": (0.0, "Probability that the colour jitter begins with grey."),
        "TRAIN_PCA_EIGVAL": ([0.225, 0.224, 0.229], "Spreads of ImageNet's colours along TRAIN_PCA_EIGVEC."),
        "TRAIN_PCA_EIGVEC": (
            [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]],
            "Principal directions of ImageNet's colours, in columns; rows are red, green, blue.",
        ),
        "INV_UNIFORM_SAMPLE": (False, "Draw the short side's inverse uniformly."),
        "USE_OFFSET_SAMPLING": (False, "Spread test clips from the first to the last frame."),
        "ENSEMBLE_METHOD": (
            "sum",
            "How a video's view logits become one score: sum or max. max is the true maximum; upstream's starts from "
            "0, so it differs for a class whose logits are all below 0.",
        ),
        "DECODING_BACKEND": (
            "pyav",
            "pyav; decord is decoded by PyAV with decord's rule (TARGET_FPS ignored); torchcodec (to be installed).",
        ),
        "DECODING_SHORT_SIZE": (
            0,
            "Shrink frames to this short side while decoding; 0: never (upstream says 256, and never reads it).",
            "pixels",
        ),
        "DECODE_CACHE": ("", "Folder that keeps decoded (and shrunk) videos for the next epochs; empty: none."),
        "DECODE_CACHE_GB": (100.0, "Room in DECODE_CACHE; videos that do not fit are decoded each time.", "GB"),
        "REVERSE_INPUT_CHANNEL": (False, "Give the model BGR instead of RGB."),
        "IMAGE_TEMPLATE": ("{:05d}.jpg", "File name of frame 1, 2, ... in a frame folder."),
        "LABEL_PATH_TEMPLATE": (
            "somesomev1_rgb_{}_split.txt",
            "Name of a frame-folder list; {} is the split.",
        ),
        "VAL_VIEW": (
            "center",
            "Validation view: center (middle clip, center crop), or random as upstream: a random crop of a random "
            "clip. sth, kinetics_sparse and hmdb differ: DATASET.md has a table.",
        ),
        "EVENT_SPLIT_BY": ("number", "Event frames: each of as many events (number) or of as much time (time)."),
        "EVENT_CLASS_ORDER": (
            "natural",
            "Event frames: classes are numbered by their folders' names as natural (10 after 9) or spelling (10 after "
            "1, as SpikingJelly numbers them).",
        ),
        "MAX_BAD_VIDEOS": (0.01, "Share of the training videos that may turn out unreadable in an epoch."),
        "CHECK_VIDEOS": (
            1000,
            "Videos of each list opened before the run starts; -1: all, 0: none.",
            "videos",
        ),
    },
)

add_section(
    "DATA_LOADER",
    {
        "NUM_WORKERS": (8, "Loader processes of each training process; 0 loads in the training process."),
        "PIN_MEMORY": (True, "Pin batches for the copy to the GPU."),
        "ENABLE_MULTI_THREAD_DECODE": (False, "Let the decoder use several threads."),
    },
)

add_section(
    "AUG",
    {
        "ENABLE": (False, "Augment training clips: this section and DATA.TRAIN_JITTER_*_RELATIVE."),
        "NUM_SAMPLE": (1, "Training copies of each video a step, each cropped and augmented on its own."),
        "AA_TYPE": (
            "rand-m9-mstd0.5-inc1",
            "RandAugment: rand with sections m level, n operations, p probability, mstd spread, inc1, w0; empty: off.",
        ),
        "INTERPOLATION": ("bicubic", "Of RandAugment's turns, shears and shifts: bicubic or bilinear."),
        "PCA_LIGHTING": (0.0, "Standard deviation of the noise along DATA.TRAIN_PCA_EIGVEC, usually 0.1; 0: off."),
        "RE_PROB": (0.25, "Probability of random erasing."),
        "RE_MODE": (
            "pixel",
            "What erased boxes get: noise (pixel), one random colour (rand), the mean colour (const).",
        ),
        "RE_COUNT": (
            1,
            "Most boxes erased in a clip. Above 1, its first NUM_FRAMES // RE_COUNT frames stay, as upstream.",
        ),
    },
)

add_section(
    "MIXUP",
    {
        "ENABLE": (False, "Mix pairs of training clips and their labels."),
        "ALPHA": (0.8, "MixUp's share is drawn from Beta(ALPHA, ALPHA); 0: no MixUp."),
        "CUTMIX_ALPHA": (1.0, "CutMix's share is drawn from Beta(CUTMIX_ALPHA, CUTMIX_ALPHA); 0: no CutMix."),
        "PROB": (1.0, "Probability of mixing a batch at all."),
        "SWITCH_PROB": (0.5, "Probability of CutMix where both are on."),
        "LABEL_SMOOTH_VALUE": (0.1, "Share of the label spread over all classes."),
    },
)

add_section(
    "MODEL",
    {
        "ARCH": (
            "slowfast",
            "Upstream's name of the architecture; names a preset where MODEL_NAME does not.",
        ),
        "MODEL_NAME": ("SlowFast", "Registered model or preset."),
        "NUM_CLASSES": (400, "Classes; labels run from 0 to NUM_CLASSES - 1."),
        "LOSS_FUNC": (
            "cross_entropy",
            "Training loss. All take logits: cross_entropy; soft_cross_entropy (with MIXUP.ENABLE); bce_logit (binary "
            "cross-entropy of each class's sigmoid); bce (of the softmax; upstream's takes probabilities); mse.",
        ),
        "USE_CHECKPOINT": (False, "Recompute activations in backward instead of keeping them."),
        "CHECKPOINT_NUM": (
            [0, 0, 0, 0],
            "With USE_CHECKPOINT: how many first blocks of each stage recompute.",
        ),
        "DROPOUT_RATE": (0.5, "Dropout before the classifier (ResNet)."),
        "FC_INIT_STD": (0.01, "Standard deviation of the classifier's first weights (ResNet)."),
        "MAX_UNLOADED": (0.01, "Share of the model that may find no weights in TRAIN.CHECKPOINT_FILE_PATH."),
    },
)

add_section(
    "BN",
    {
        "NORM_TYPE": ("batchnorm", "batchnorm, or sync_batchnorm for statistics over all processes."),
        "USE_PRECISE_STATS": (
            False,
            "Recompute the running statistics before each validation and epoch checkpoint.",
        ),
        "NUM_BATCHES_PRECISE": (200, "Batches of that recomputation.", "steps"),
        "WEIGHT_DECAY": (0.0, "Weight decay of the norms' parameters."),
    },
)

add_section(
    "SOLVER",
    {
        "BASE_LR": (0.1, "Learning rate after the warm-up, for the whole batch."),
        "BASE_LR_SCALE_NUM_SHARDS": (False, "Multiply the learning rates by NUM_SHARDS."),
        "LR_POLICY": ("cosine", "cosine or steps_with_relative_lrs."),
        "COSINE_END_LR": (0.0, "Learning rate at the end of the cosine."),
        "COSINE_AFTER_WARMUP": (False, "Start the cosine after the warm-up instead of at epoch 0."),
        "STEPS": ([], "Epochs at which LRS takes its next factor; the first is 0.", "epochs"),
        "LRS": ([], "Factors of BASE_LR, one for each of STEPS; those beyond them are not used."),
        "MAX_EPOCH": (300, "Epochs to train.", "epochs"),
        "WARMUP_EPOCHS": (0.0, "Length of the linear warm-up, may be a fraction.", "epochs"),
        "WARMUP_START_LR": (0.01, "Learning rate at the start of the warm-up."),
        "OPTIMIZING_METHOD": ("sgd", "sgd, adam or adamw."),
        "MOMENTUM": (0.9, "Momentum of SGD."),
        "DAMPENING": (0.0, "Dampening of SGD's momentum."),
        "NESTEROV": (True, "Nesterov momentum."),
        "BETAS": ([0.9, 0.999], "Decay rates of Adam's moments."),
        "WEIGHT_DECAY": (0.0001, "Weight decay of the weights."),
        "ZERO_WD_1D_PARAM": (False, "No weight decay for vectors and biases."),
        "LEGACY_PARAM_GROUPS": (False, "Upstream's groups: weight decay also for the scalar w of a PLIF."),
        "CLIP_GRAD_L2NORM": (None, "Clip the gradient's L2 norm at this value; 0: off. None: as published, else off."),
        "CLIP_GRAD_VAL": (None, "Clip every entry of the gradient at this value; None or 0: off."),
        "GRADIENT_ACCUMULATION_STEPS": (1, "Steps whose gradients are averaged for one update.", "steps"),
    },
)

add_section(
    "TENSORBOARD",
    {
        "ENABLE": (False, "Write TensorBoard event files."),
        "LOG_DIR": ("", "Their folder in OUTPUT_DIR; empty: runs-<TRAIN.DATASET>."),
        "CLASS_NAMES_PATH": ("", "json {class name: label}; empty: classes.json beside the lists, if there."),
        "CONFUSION_MATRIX.ENABLE": (False, "Draw the confusion matrix."),
        "CONFUSION_MATRIX.FIGSIZE": ([8, 8], "Its size.", "inches"),
        "CONFUSION_MATRIX.SUBSET_PATH": ("", "Text file with the classes to draw, one a line; empty: all."),
        "HISTOGRAM.ENABLE": (False, "Draw, per class, what its videos are taken for."),
        "HISTOGRAM.FIGSIZE": ([8, 8], "Its size.", "inches"),
        "HISTOGRAM.TOPK": (10, "How many predicted classes it shows."),
        "HISTOGRAM.SUBSET_PATH": ("", "Text file with the classes to draw, one a line; empty: all."),
    },
)

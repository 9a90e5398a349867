"""The sections that no part of the package has for its own; every other is declared beside the code that reads it."""

from slowfast.config.keys import Key, add_section
from slowfast.config.valid import FLAG, RATE, SHARE, TEXT, choice, listed, number, whole

FIGURE = listed(number(1, 100), 2)

add_section(
    "",
    {
        "NUM_GPUS": Key(
            1, "GPUs of this machine to use, a process each; 0 runs on the CPU (DIST.CPU_PROCESSES).", valid=whole(0)
        ),
        "NUM_SHARDS": Key(1, "Machines that take part (torchrun's environment overrides it).", valid=whole(1)),
        "SHARD_ID": Key(0, "Which of NUM_SHARDS this machine is, from 0.", valid=whole(0)),
        "OUTPUT_DIR": Key("./tmp", "Folder of logs, checkpoints, predictions and reports.", valid=TEXT),
        "RNG_SEED": Key(
            1, "Seed of the weights, the order of the data and every random draw.", valid=whole(0, 2**63 - 1)
        ),
        "CPU_THREADS": Key(
            0,
            "Threads of torch in each process. 0: OMP_NUM_THREADS if it is set (torchrun sets 1 for several "
            "processes), else on GPUs torch's choice and on the CPU as many as help, by the cores, the loader "
            "processes and the size of a step; the log says how many and why. The number changes how sums are rounded.",
            valid=whole(0, 4096),
        ),
        "DIST_BACKEND": Key(
            "nccl",
            "Backend of torch.distributed on GPUs; the CPU always uses gloo.",
            valid=choice("nccl", "gloo", "mpi", "ucc"),
        ),
        "LOG_PERIOD": Key(10, "Steps between two log lines.", "steps", valid=whole(1)),
        "LOG_MODEL_INFO": Key(True, "Log parameters and FLOPs before training."),
        "GLOBAL_BATCH_SIZE": Key(
            0, "Accumulate gradients to this many clips over all processes; 0: off.", "clips", valid=whole(0)
        ),
    },
)

add_section(
    "DIST",
    {
        "CPU_PROCESSES": Key(
            1, "Processes of this machine with NUM_GPUS 0; TRAIN.BATCH_SIZE is divided over them.", valid=whole(1, 1024)
        ),
        "STRATEGY": Key(
            "ddp",
            "ddp: a whole model in each process; fsdp: its blocks sharded over all (FSDP2).",
            valid=choice("ddp", "fsdp"),
        ),
        "TIMEOUT": Key(600, "How long a process waits for the others before the job ends.", "s", valid=whole(1, 10**8)),
    },
)

add_section(
    "TRAIN",
    {
        "ENABLE": Key(True, "Train (before testing)."),
        "DATASET": Key("kinetics", "Registered data set of the train and val splits.", valid=TEXT),
        "BATCH_SIZE": Key(64, "Videos a step on one machine, over its GPUs.", "videos", valid=whole(1)),
        "EVAL_PERIOD": Key(
            10, "Epochs between validations; the last epoch is always validated.", "epochs", valid=whole(1)
        ),
        "CHECKPOINT_PERIOD": Key(
            10, "Epochs between checkpoints; the last epoch is always saved.", "epochs", valid=whole(1)
        ),
        "CHECKPOINT_EVERY_STEPS": Key(
            0, "Also save after this many steps, within epochs; 0: off.", "steps", valid=whole(0)
        ),
        "CHECKPOINT_EVERY_MINUTES": Key(
            0.0, "Also save when this much time has passed; 0: off.", "minutes", valid=number(0)
        ),
        "KEEP_CHECKPOINTS": Key(
            0, "Epoch checkpoints to keep, the newest; 0: all. The best is kept besides.", valid=whole(0)
        ),
        "MAX_NONFINITE_STEPS": Key(
            10, "Steps in a row with a NaN or infinite loss or gradient that are only skipped.", valid=whole(0)
        ),
        "AUTO_RESUME": Key(True, "Go on from OUTPUT_DIR's newest checkpoint if there is one."),
        "RESUME_CHANGED": Key(False, "Let a resumed run go on although keys that decide its weights have changed."),
        "CHECKPOINT_FILE_PATH": Key("", "Checkpoint to start from when OUTPUT_DIR has none.", valid=TEXT),
        "CHECKPOINT_EPOCH_RESET": Key(False, "Take only the weights of CHECKPOINT_FILE_PATH, and start at epoch 0."),
        "CHECKPOINT_CLEAR_NAME_PATTERN": Key(
            [], "Parts removed from the names in CHECKPOINT_FILE_PATH.", valid=listed(TEXT)
        ),
        "MIXED_PRECISION": Key(
            None, "Train under autocast. None: as the model's publication on GPUs, else off.", valid=FLAG
        ),
        "AMP_DTYPE": Key(
            "float16",
            "Type under autocast: float16 (with loss scaling) or bfloat16.",
            valid=choice("float16", "bfloat16"),
        ),
    },
)

add_section(
    "TEST",
    {
        "ENABLE": Key(True, "Test (after training)."),
        "DATASET": Key("kinetics", "Registered data set of the test split.", valid=TEXT),
        "BATCH_SIZE": Key(8, "Views a step on one machine, over its GPUs.", "views", valid=whole(1)),
        "CHECKPOINT_FILE_PATH": Key(
            "", "Weights to test; empty: the best (TEST_BEST) or last of OUTPUT_DIR.", valid=TEXT
        ),
        "NUM_ENSEMBLE_VIEWS": Key(
            10,
            "Clips taken from a video along time; -1: accuracy with 1, 3, 5, 7 and 10.",
            "clips",
            valid=whole(-1, 1000),
        ),
        "NUM_SPATIAL_CROPS": Key(3, "Crops of each clip: 3 (left, centre, right) or 1 (centre).", valid=choice(1, 3)),
        "SAVE_RESULTS_PATH": Key("", "File in OUTPUT_DIR for a pickle [predictions, labels]; empty: none.", valid=TEXT),
        "TEST_BEST": Key(False, "Test the best validated weights of OUTPUT_DIR instead of the last."),
    },
)

add_section(
    "MODEL",
    {
        "ARCH": Key(
            "slowfast", "Upstream's name of the architecture; names a preset where MODEL_NAME does not.", valid=TEXT
        ),
        "MODEL_NAME": Key("SlowFast", "Registered model or preset.", valid=TEXT),
        "NUM_CLASSES": Key(400, "Classes; labels run from 0 to NUM_CLASSES - 1.", valid=whole(1)),
        "USE_CHECKPOINT": Key(False, "Recompute activations in backward instead of keeping them."),
        "CHECKPOINT_NUM": Key(
            [0, 0, 0, 0],
            "With USE_CHECKPOINT: how many first blocks of each stage recompute.",
            valid=listed(whole(0), 4),
        ),
        "DROPOUT_RATE": Key(0.5, "Dropout before the classifier (ResNet).", valid=RATE),
        "FC_INIT_STD": Key(0.01, "Standard deviation of the classifier's first weights (ResNet).", valid=number(0, 10)),
        "MAX_UNLOADED": Key(
            0.01, "Share of the model that may find no weights in TRAIN.CHECKPOINT_FILE_PATH.", valid=SHARE
        ),
    },
)

add_section(
    "BN",
    {
        "NORM_TYPE": Key(
            "batchnorm",
            "batchnorm, or sync_batchnorm for statistics over all processes.",
            valid=choice("batchnorm", "sync_batchnorm"),
        ),
        "USE_PRECISE_STATS": Key(
            False,
            "Recompute the running statistics before each validation and epoch checkpoint.",
        ),
        "NUM_BATCHES_PRECISE": Key(200, "Batches of that recomputation.", "steps", valid=whole(1)),
        "WEIGHT_DECAY": Key(0.0, "Weight decay of the norms' parameters.", valid=SHARE),
    },
)

add_section(
    "TENSORBOARD",
    {
        "ENABLE": Key(False, "Write TensorBoard event files."),
        "LOG_DIR": Key("", "Their folder in OUTPUT_DIR; empty: runs-<TRAIN.DATASET>.", valid=TEXT),
        "CLASS_NAMES_PATH": Key(
            "", "json {class name: label}; empty: classes.json beside the lists, if there.", valid=TEXT
        ),
        "CONFUSION_MATRIX.ENABLE": Key(False, "Draw the confusion matrix."),
        "CONFUSION_MATRIX.FIGSIZE": Key([8, 8], "Its size.", "inches", valid=FIGURE),
        "CONFUSION_MATRIX.SUBSET_PATH": Key(
            "", "Text file with the classes to draw, one a line; empty: all.", valid=TEXT
        ),
        "HISTOGRAM.ENABLE": Key(False, "Draw, per class, what its videos are taken for."),
        "HISTOGRAM.FIGSIZE": Key([8, 8], "Its size.", "inches", valid=FIGURE),
        "HISTOGRAM.TOPK": Key(10, "How many predicted classes it shows.", valid=whole(1)),
        "HISTOGRAM.SUBSET_PATH": Key("", "Text file with the classes to draw, one a line; empty: all.", valid=TEXT),
    },
)

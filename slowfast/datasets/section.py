"""Sections DATA, DATA_LOADER, AUG and MIXUP: where videos are, and how they become batches."""

from slowfast.config.keys import Key, add_section
from slowfast.config.valid import SHARE, TEXT, choice, either, listed, number, whole

BETA = either(number(0.001, 1000), choice(0.0))  # numpy's Beta(a, a) is NaN for the least numbers

add_section(
    "DATA",
    {
        "PATH_TO_DATA_DIR": Key("", "Folder of the lists train.csv, val.csv, test.csv.", valid=TEXT),
        "PATH_LABEL_SEPARATOR": Key(" ", "Text between path and label in a list line.", valid=TEXT),
        "PATH_PREFIX": Key("", "Folder put before every path of the lists.", valid=TEXT),
        "NUM_FRAMES": Key(8, "Frames of a clip; a spiking model's time steps.", "frames", valid=whole(1)),
        "SAMPLING_RATE": Key(8, "Distance between a clip's frames.", "frames", valid=whole(1)),
        "TARGET_FPS": Key(
            30,
            "Frame rate SAMPLING_RATE refers to; not used with DECODING_BACKEND decord.",
            "1/s",
            valid=number(1, 1000),
        ),
        "MEAN": Key(
            [0.45, 0.45, 0.45], "Subtracted from the pixels, after scaling them to 0 .. 1.", valid=listed(SHARE, 2, 3)
        ),
        "STD": Key(
            [0.225, 0.225, 0.225], "Divisor of the pixels, after MEAN.", valid=listed(number(above=0, most=1), 2, 3)
        ),
        "INPUT_CHANNEL_NUM": Key([3, 3], "Channels of the input (the first value).", valid=listed(choice(2, 3), 1, 2)),
        "TRAIN_JITTER_SCALES": Key(
            [256, 320], "Range of the short side in training.", "pixels", valid=listed(number(1), 2, ascending=True)
        ),
        "TRAIN_JITTER_SCALES_RELATIVE": Key(
            [],
            "Range of the crop's share of the area (AUG.ENABLE); empty: off.",
            valid=listed(number(above=0, most=1), 0, 2, ascending=True),
        ),
        "TRAIN_JITTER_ASPECT_RELATIVE": Key(
            [], "Range of that crop's aspect ratio.", valid=listed(number(0.01, 100), 0, 2, ascending=True)
        ),
        "TRAIN_JITTER_MOTION_SHIFT": Key(False, "Let the crop move over the clip, between two draws (AUG.ENABLE)."),
        "TRAIN_CROP_SCALES": Key(
            [],
            "Multi-scale crops (TSN, ReSpike): shares of the short side that a training crop's height and width take, "
            "such as [1, 0.875, 0.75, 0.66], instead of TRAIN_JITTER_SCALES; empty: off.",
            valid=listed(number(above=0, most=1)),
        ),
        "TRAIN_JITTER_FPS": Key(0.0, "TARGET_FPS is raised by up to this in training.", "1/s", valid=number(0, 1000)),
        "TRAIN_CROP_SIZE": Key(224, "Side of the square crop in training and validation.", "pixels", valid=whole(1)),
        "TEST_CROP_SIZE": Key(256, "Side of the square crop in testing.", "pixels", valid=whole(1)),
        "RESIZE_ANTIALIAS": Key(
            False, "Resize clips with antialiasing: better pictures, other numbers than upstream's."
        ),
        "RANDOM_FLIP": Key(
            True,
            "Mirror half of the training clips, but none of a class that classes.json beside the lists names with the "
            "word left or right.",
        ),
        "SSL_COLOR_JITTER": Key(False, "Change the colours of training clips at random, each clip in one way."),
        "SSL_COLOR_BRI_CON_SAT": Key(
            [0.4, 0.4, 0.4], "Factors of brightness, contrast, saturation are 1 +- these.", valid=listed(number(0), 3)
        ),
        "SSL_COLOR_HUE": Key(0.1, "Hues turn by up to this share of the circle, either way.", valid=number(0, 0.5)),
        "COLOR_RND_GRAYSCALE": Key(0.0, "Probability that the colour jitter begins with grey.", valid=SHARE),
        "TRAIN_PCA_EIGVAL": Key(
            [0.225, 0.224, 0.229], "Spreads of ImageNet's colours along TRAIN_PCA_EIGVEC.", valid=listed(number(0), 3)
        ),
        "TRAIN_PCA_EIGVEC": Key(
            [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]],
            "Principal directions of ImageNet's colours, in columns; rows are red, green, blue.",
            valid=listed(listed(number(-1, 1), 3), 3),
        ),
        "INV_UNIFORM_SAMPLE": Key(False, "Draw the short side's inverse uniformly."),
        "USE_OFFSET_SAMPLING": Key(False, "Spread test clips from the first to the last frame."),
        "ENSEMBLE_METHOD": Key(
            "sum",
            "How a video's view logits become one score: sum or max. max is the true maximum; upstream's starts from "
            "0, so it differs for a class whose logits are all below 0.",
            valid=choice("sum", "max"),
        ),
        "DECODING_BACKEND": Key(
            "pyav",
            "pyav; decord is decoded by PyAV with decord's rule (TARGET_FPS ignored); torchcodec (to be installed).",
            valid=choice("pyav", "decord", "torchcodec"),
        ),
        "DECODING_SHORT_SIZE": Key(
            0,
            "Shrink frames to this short side while decoding; 0: never (upstream says 256, and never reads it).",
            "pixels",
            valid=whole(0),
        ),
        "DECODE_CACHE": Key(
            "", "Folder that keeps decoded (and shrunk) videos for the next epochs; empty: none.", valid=TEXT
        ),
        "DECODE_CACHE_GB": Key(
            100.0, "Room in DECODE_CACHE; videos that do not fit are decoded each time.", "GB", valid=number(0)
        ),
        "REVERSE_INPUT_CHANNEL": Key(False, "Give the model BGR instead of RGB."),
        "IMAGE_TEMPLATE": Key("{:05d}.jpg", "File name of frame 1, 2, ... in a frame folder.", valid=TEXT),
        "LABEL_PATH_TEMPLATE": Key(
            "somesomev1_rgb_{}_split.txt", "Name of a frame-folder list; {} is the split.", valid=TEXT
        ),
        "VAL_VIEW": Key(
            "center",
            "Validation view: center (middle clip, center crop), or random as upstream: a random crop of a random "
            "clip. sth, kinetics_sparse and hmdb differ: DATASET.md has a table.",
            valid=choice("center", "random"),
        ),
        "EVENT_SPLIT_BY": Key(
            "number",
            "Event frames: each of as many events (number) or of as much time (time).",
            valid=choice("number", "time"),
        ),
        "EVENT_CLASS_ORDER": Key(
            "natural",
            "Event frames: classes are numbered by their folders' names as natural (10 after 9) or spelling (10 after "
            "1, as SpikingJelly numbers them).",
            valid=choice("natural", "spelling"),
        ),
        "MAX_BAD_VIDEOS": Key(
            0.01, "Share of the training videos that may turn out unreadable in an epoch.", valid=SHARE
        ),
        "CHECK_VIDEOS": Key(
            1000, "Videos of each list opened before the run starts; -1: all, 0: none.", "videos", valid=whole(-1)
        ),
    },
)

add_section(
    "DATA_LOADER",
    {
        "NUM_WORKERS": Key(
            8, "Loader processes of each training process; 0 loads in the training process.", valid=whole(0, 1024)
        ),
        "PIN_MEMORY": Key(True, "Pin batches for the copy to the GPU."),
        "ENABLE_MULTI_THREAD_DECODE": Key(False, "Let the decoder use several threads."),
    },
)

add_section(
    "AUG",
    {
        "ENABLE": Key(False, "Augment training clips: this section and DATA.TRAIN_JITTER_*_RELATIVE."),
        "NUM_SAMPLE": Key(
            1, "Training copies of each video a step, each cropped and augmented on its own.", valid=whole(1)
        ),
        "AA_TYPE": Key(
            "rand-m9-mstd0.5-inc1",
            "RandAugment: rand with sections m level, n operations, p probability, mstd spread, inc1, w0; empty: off.",
            valid=TEXT,
        ),
        "INTERPOLATION": Key(
            "bicubic",
            "Of RandAugment's turns, shears and shifts: bicubic or bilinear.",
            valid=choice("bicubic", "bilinear"),
        ),
        "PCA_LIGHTING": Key(
            0.0,
            "Standard deviation of the noise along DATA.TRAIN_PCA_EIGVEC, usually 0.1; 0: off.",
            valid=number(0, 10),
        ),
        "RE_PROB": Key(0.25, "Probability of random erasing.", valid=SHARE),
        "RE_MODE": Key(
            "pixel",
            "What erased boxes get: noise (pixel), one random colour (rand), the mean colour (const).",
            valid=choice("pixel", "rand", "const"),
        ),
        "RE_COUNT": Key(
            1,
            "Most boxes erased in a clip. Above 1, its first NUM_FRAMES // RE_COUNT frames stay, as upstream.",
            valid=whole(1),
        ),
    },
)

add_section(
    "MIXUP",
    {
        "ENABLE": Key(False, "Mix pairs of training clips and their labels."),
        "ALPHA": Key(0.8, "MixUp's share is drawn from Beta(ALPHA, ALPHA); 0: no MixUp.", valid=BETA),
        "CUTMIX_ALPHA": Key(
            1.0, "CutMix's share is drawn from Beta(CUTMIX_ALPHA, CUTMIX_ALPHA); 0: no CutMix.", valid=BETA
        ),
        "PROB": Key(1.0, "Probability of mixing a batch at all.", valid=SHARE),
        "SWITCH_PROB": Key(0.5, "Probability of CutMix where both are on.", valid=SHARE),
        "LABEL_SMOOTH_VALUE": Key(0.1, "Share of the label spread over all classes.", valid=SHARE),
    },
)

# Sourced by the run.sh of an experiment, which names what it needs; trains and tests as config.yaml beside it says.
#   lists, media   folders of $DATA_ROOT with the lists and the videos or images (DATASET.md); no media: lists has all
#   weights        file of $CKPT_ROOT that training starts from (left out when there is none)
#   weights_key    config key that takes it, TRAIN.CHECKPOINT_FILE_PATH unless said otherwise
# Arguments are KEY VALUE pairs over the config; with DATA.PATH_TO_DATA_DIR or `weights_key` among them the variables
# are not needed, nor are initial weights with TRAIN.ENABLE False.

experiment=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
asked=" $* "
options=(OUTPUT_DIR "$experiment/output")
weights_key=${weights_key:-TRAIN.CHECKPOINT_FILE_PATH}

# Usage: need VARIABLE WHAT KEY
need() {
    if [ -z "${!1:-}" ]; then
        echo "$1 is not set. Set it to the folder that holds $2, or give $3 as an argument." >&2
        exit 1
    fi
    if [ ! -d "${!1}" ]; then
        echo "$1 ${!1} is no folder. It should hold $2." >&2
        exit 1
    fi
}

if [[ "$asked" != *" DATA.PATH_TO_DATA_DIR "* ]]; then
    need DATA_ROOT "$lists${media:+ and $media} (DATASET.md)" DATA.PATH_TO_DATA_DIR
    options+=(DATA.PATH_TO_DATA_DIR "$DATA_ROOT/$lists" ${media:+DATA.PATH_PREFIX "$DATA_ROOT/$media"})
fi
if [[ -n "${weights:-}" && "$asked" != *" $weights_key "* && "$asked" != *" TRAIN.ENABLE False "* ]]; then
    need CKPT_ROOT "$weights" "$weights_key"
    options+=("$weights_key" "$CKPT_ROOT/$weights")
fi

source "$experiment/../../tools/activate.sh"
exec python "$spikefast_root/tools/run_net.py" --cfg "$experiment/config.yaml" "${options[@]}" "$@"

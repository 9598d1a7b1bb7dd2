#!/bin/sh
# Trains configs/authentic_gpu.yaml for MINUTES on one GPU, with a checkpoint every minute, and exports it.
#
#   benchmarks/authentic_gpu.sh pack                 on the machine with the data: build/faces.tar, below 60 MB
#   MINUTES=8 benchmarks/authentic_gpu.sh train      on the machine with the GPU, from the repository's root
#   benchmarks/authentic_gpu.sh resume               where it was cut off
#
# Further options go to bonaface train: --device cpu --precision auto tries it out without a GPU.
# The weights of EfficientNet-Lite2 must lie in bonaface's cache where the machine has no network: `bonaface get weights`.
set -eu
PYTHON=${PYTHON:-python}
MINUTES=${MINUTES:-8}
PROBE=${PROBE:-40}
CONFIG=configs/authentic_gpu.yaml
RUN=runs/authentic_gpu
what=${1:?expected pack, train or resume}
shift

export_run() {
    $PYTHON -m bonaface export --model $RUN --format onnx-fp16 --out $RUN.onnx
}

case $what in
pack)
    $PYTHON benchmarks/pack_faces.py --config configs/authentic.yaml --out build/faces.tar --megabytes "${MEGABYTES:-60}" "$@"
    ;;
train)
    mkdir -p build/faces
    tar -xf build/faces.tar -C build/faces
    # The first run decodes the images, forges the validation pairs and measures the speed; the second finds both in the cache.
    $PYTHON -m bonaface train --config $CONFIG --name authentic_gpu_probe --steps "$PROBE" --val_every "$PROBE" "$@"
    steps=$($PYTHON -c "
import csv, sys
rate = float(list(csv.DictReader(open('runs/authentic_gpu_probe/metrics.csv')))[-1]['images_per_second'])
batch = 4 * 48  # n_labels people, two photos and two deepfakes each
minutes = float(sys.argv[1])
each = max(1, int(60 * rate / batch))
print(max(1, int(minutes * each)), each)" "$MINUTES")
    # A validation, and so a checkpoint, every minute; --resume continues from the last one.
    $PYTHON -m bonaface train --config $CONFIG --steps "${steps% *}" --val_every "${steps#* }" "$@"
    export_run
    ;;
resume)
    $PYTHON -m bonaface train --config $RUN/config.yaml --resume
    export_run
    ;;
*)
    echo "expected pack, train or resume, got $what" >&2
    exit 2
    ;;
esac

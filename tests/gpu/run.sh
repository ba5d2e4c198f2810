#!/usr/bin/env bash
# Tests and measurements on a CUDA card, for a machine that may have no network and no virtual environment.
#   tests/gpu/run.sh fetch      where there is a network: wheels for the machine with the card, into .wheels/
#   tests/gpu/run.sh [FOLDER]   where there is a card: the tests marked gpu, then the tables, into FOLDER (runs/gpu)
# PYTHON names the interpreter (python3). It needs torch, numba, h5py, safetensors, scipy, pandas, tqdm and pytest; what
# else it lacks is taken from .wheels/, and tests that need more than it then has are skipped and say so. GPU_TESTS names
# some of the test files, GPU_BENCH_OPTIONS are those of tests/bench/gpu.py. It ends after GPU_SECONDS (470), of which
# the tests take GPU_TEST_SECONDS (150) at most; results are on the disk as soon as they are there.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
site=.wheels/site

if [ "${1:-}" = fetch ]; then
    for version in ${TARGET_PYTHON:-3.12}; do
        grep -v '^#' tests/gpu/requirements.txt | while read -r package; do
            "$python" -m pip download --quiet --no-deps --only-binary=:all: --dest .wheels \
                --python-version "$version" --implementation cp --platform manylinux_2_28_x86_64 \
                --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 "$package"
        done
    done
    du -sh .wheels
    exit
fi

out=${1:-runs/gpu}
mkdir -p "$out"
if compgen -G ".wheels/*.whl" >/dev/null && [ ! -d "$site" ]; then  # those that are missing, and nothing that is there
    missing=()
    for wheel in .wheels/*.whl; do
        "$python" -m pip show --quiet "$(basename "$wheel" | cut -d- -f1)" 2>/dev/null || missing+=("$wheel")
    done
    [ ${#missing[@]} = 0 ] || "$python" -m pip install --quiet --no-index --no-deps --no-compile \
        --root-user-action=ignore --target "$site" "${missing[@]}" || echo "wheels of another Python are not used"
fi
export PYTHONPATH="$PWD/$site:$PWD${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1  # plugins of that machine are none of the tests

files=${GPU_TESTS:-$(grep -rlE 'mark\.gpu' tests --include='test_*.py' | sort)}
if grep -q '^tests/activations/' <<<"$files" && ! "$python" -c 'import transformer_lens' 2>/dev/null; then
    echo "TransformerLens cannot be imported: tests in tests/activations and of whole runs are left out"
    files=$(grep -v '^tests/activations/' <<<"$files")
fi
interruptible='import signal, sys, pytest
signal.signal(signal.SIGTERM, signal.default_int_handler)
sys.exit(pytest.main(sys.argv[1:]))'
tests() {  # name, then options of pytest
    local name=$1 status=0
    shift
    # The package's warnings fail its tests in CI; here versions are whatever the machine has, so they are only shown.
    # At the end of its time pytest is interrupted, as by Ctrl-C, so that it reports what failed until then.
    # shellcheck disable=SC2086
    timeout --kill-after=15 "${GPU_TEST_SECONDS:-150}" "$python" -c "$interruptible" -m gpu $files \
        --import-mode=importlib -p no:cacheprovider -o addopts="--strict-markers --durations=10 -q -rs" \
        -W default "$@" >"$out/tests-$name.txt" 2>&1 || status=$?
    if [ $status = 124 ] || [ $status = 137 ]; then
        echo "ended after ${GPU_TEST_SECONDS:-150} s, its time" >>"$out/tests-$name.txt"
    fi
    [ $status = 0 ] || [ $status = 5 ]  # 5: no test has such a name
}

status=0
if [ -n "${GPU_TESTS:-}" ]; then
    tests all || status=1
else  # most of the tests' time is Triton's compiler, on one core: three processes at a time
    tests encoders -k "kernel and (topk or above)" & encoders=$!
    tests kernels -k "kernel and not topk and not above" & kernels=$!
    tests others -k "not kernel" & others=$!
    for process in $encoders $kernels $others; do wait "$process" || status=1; done
fi
cat "$out"/tests-*.txt | tee "$out/tests.txt"
rm "$out"/tests-*.txt
left=$((${GPU_SECONDS:-470} - SECONDS))
# shellcheck disable=SC2086
timeout $((left + 30)) "$python" tests/bench/gpu.py --out "$out" --seconds $left ${GPU_BENCH_OPTIONS:-} || status=1
exit $status

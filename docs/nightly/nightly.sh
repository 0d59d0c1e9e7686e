#!/bin/sh
# One night: run the fleet, publish what is good, tell somebody if it is not, tidy up. Ends with the exit code of the run.
#
#   RUNS      folder of the runs, their history, baseline and store, kept from night to night
#   MODELS    folder that the artifacts are published to
#   PYTHON    the interpreter of the installation (python)
#   NOTIFY    a command that reads the night's summary and sends it, as `mail -s "ONNX nightly" you@example.org`
#   KEEP      days for which run folders stay (90)
# Words after the name of the script are added to the command line of the run.
set -u

PYTHON="${PYTHON:-python}"
mkdir -p "$RUNS" "$MODELS"
exec 9>"$RUNS/.nightly.lock"
if ! flock --nonblock 9; then
    echo "the night before is still at work" >&2
    exit 75
fi

summary="$RUNS/nightly.txt"
"$PYTHON" -m orchestrator +fleet=nightly "hydra.sweep.dir=$RUNS" terminal=quiet deliver=changed "$@" >"$summary" 2>&1
code=$?
cat "$summary"

# 0 and 1: the run reached its end. A model with a cell that is not as expected keeps the version that is published.
if [ "$code" -le 1 ]; then
    "$PYTHON" -m orchestrator publish latest "$MODELS" --runs "$RUNS"
fi
if [ "$code" -ne 0 ] && [ -n "${NOTIFY:-}" ]; then
    { echo "exit code $code"; cat "$summary"; } | sh -c "$NOTIFY"
fi
"$PYTHON" -m orchestrator gc --runs "$RUNS" --keep-runs "${KEEP:-90}" --delete >/dev/null
exit "$code"

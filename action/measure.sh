#!/bin/sh
# Measures in any CI. Variables: ARGUMENTS (pytest's); BASE, HEAD, ROUNDS, FAIL_ON (of `inferena ab`, where BASE is set);
# OUTPUT (a folder). What it prints is also in the file that GITHUB_STEP_SUMMARY names, or in OUTPUT/summary.md.
set -eu
output=${OUTPUT:-inferena}
mkdir -p "$output"
summary=${GITHUB_STEP_SUMMARY:-$output/summary.md}
set -f # a * among the arguments is pytest's
code=0
if [ -z "${BASE:-}" ]; then
    # shellcheck disable=SC2086 # split at spaces
    exec pytest $ARGUMENTS --junitxml="$output/junit.xml" --inferena-report="json:$output/results.json" \
        --inferena-report="md+:$summary"
fi
# shellcheck disable=SC2086
inferena ab --base="$BASE" --head="${HEAD:-.}" --rounds="${ROUNDS:-5}" ${FAIL_ON:+"--fail-on=$FAIL_ON"} \
    --output="$output" -- $ARGUMENTS > "$output/ab.txt" || code=$?
cat "$output/ab.txt"
{ echo '```text'; cat "$output/ab.txt"; echo '```'; } >> "$summary"
exit $code

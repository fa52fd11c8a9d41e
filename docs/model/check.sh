#!/bin/sh
# docs/model/check.sh [FOLDER]: checks the model of the lease with spin, then without each of its safeguards: those runs must fail.
# Needs spin and gcc (Debian: apt-get install spin gcc). FOLDER: where to build; a temporary one otherwise. END=8 searches
# further (the default is in the model), and takes some GB and minutes.
set -eu
model=$(cd "$(dirname "$0")" && pwd)/lease.pml
build=${1:-$(mktemp -d)}
mkdir -p "$build"
cd "$build"
status=0
for without in "" UNFENCED FULL_GRANT NO_LATE TOO_SURE; do
    spin -a ${END:+-DEND=$END} ${without:+-D$without} "$model" > spin.log
    gcc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=4000 -DVECTORSZ=512 ${without:+-D$without} -o pan pan.c
    ./pan -m200000 > pan.log 2>&1 || true
    errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.log)
    states=$(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log)
    broken=$(sed -n 's/pan:1: assertion violated *\(.*\) (at depth.*/\1/p' pan.log)
    if grep -q "out of memory\|MEMLIM\|max search depth too small" pan.log; then
        echo "${without:-whole}: not searched through: $(grep -m1 'out of memory\|MEMLIM\|max search' pan.log)"; status=1
    elif [ -z "$without" ] && [ "$errors" = 0 ]; then
        echo "whole: holds in all $states states"
    elif [ -n "$without" ] && [ "$errors" != 0 ]; then
        echo "without safeguard ($without): counterexample found, as it must be: $broken"
    else
        echo "${without:-whole}: unexpected: errors=$errors $broken"; status=1
    fi
done
exit $status

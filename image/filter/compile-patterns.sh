#!/bin/sh
# Runs rspamd until it has compiled its patterns, and copies what it made to DIRECTORY. The first start of a pod would
# otherwise take ten seconds of processor time and some 450 MB of memory for it.
# Usage: compile-patterns.sh DIRECTORY
set -eu

log=/build/compile-patterns.log
rm -rf /var/lib/rspamd/*
chown _rspamd:_rspamd /var/lib/rspamd
rspamd --no-fork --user=_rspamd --group=_rspamd --var=LOCAL_CONFDIR=/build/patterns >"$log" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null || :' EXIT

# Finished is: ten seconds without a new file and with the helper process, which compiles, idle.
still=0
before=
tries=0
while [ "$still" -lt 10 ]; do
    sleep 1
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$pid"; then
        cat "$log"
        echo "rspamd did not compile its patterns" >&2
        exit 1
    fi
    files=$(find /var/lib/rspamd -name '*.hs.zst' | wc -l)
    # In ticks of 10 ms, without the few that waiting costs.
    helper=$(pgrep --parent "$pid" --full hs_helper) || continue
    now="$files $(awk '{print int(($14 + $15) / 10)}' "/proc/$helper/stat")"
    if [ "$files" -gt 20 ] && [ "$now" = "$before" ]; then still=$((still + 1)); else still=0; fi
    before=$now
done
# Copied before rspamd ends: at its end it removes what it thinks stale.
cp /var/lib/rspamd/*.hs.zst "$1/"
chmod 644 "$1"/*
du -h "$1"

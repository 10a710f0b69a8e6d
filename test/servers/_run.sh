#!/bin/sh
# Runs a server until it ends, or until whoever started it is gone: standard input ends with them, however they ended.
# Then its folder goes, too: sh _run.sh SIGNAL COMMAND …, with the folder in TMPDIR.
signal=$1
shift
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
echo "process $server"
# Whoever reads what we say may be gone when we have something to say, and we would end too soon.
exec >/dev/null 2>&1
{
  while read -r _ <&3; do :; done
  kill -s "$signal" "$server"
  left=50
  while kill -0 "$server" && [ "$left" -gt 0 ]; do
    sleep 0.1
    left=$((left - 1))
  done
  kill -s KILL "$server"
} &
watcher=$!
exec 3<&-
wait "$server"
status=$?
kill "$watcher"
rm -rf "$TMPDIR"
exit "$status"

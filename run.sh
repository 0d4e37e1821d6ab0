#!/usr/bin/env bash
# Runs a whole cluster on this machine: a name server, replicas, front ends. `./run.sh help` tells how.
#
# Nothing here sleeps. A start waits for the process's ready line, which comes through a fifo; an end is waited for by
# a lock that the process holds through an open file for as long as it lives, whoever started it and however it dies.
# State is in .run/: NAME.pid (pid and start time), NAME.addr, NAME.args (program and arguments), NAME.log, NAME.lock,
# NAME.ready_line, NAME.window (its xterm or tmux pane); and the data: nameserver.redb, replica.N/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
self=$PWD/run.sh
run=$PWD/.run

usage() {
    cat <<'END'
./run.sh                     start what does not run, and wait until it serves

./run.sh [up] [--mode auto|xterm|tmux|headless] [--replicas 3] [--front-ends 1] [--ns-port 9090]
              [--http 127.0.0.1:8080|off] [--min-in-sync 1] [--fresh [--yes]] [--fake-apis|--offline]
./run.sh client [ARGS…]      the command line, on this cluster
./run.sh status              which processes run, and how the groups are; exit 5 when one serves nobody
./run.sh logs [-f] [NAME]    what they wrote; -f goes on
./run.sh kill NAME           kill -9, to see that nothing is lost
./run.sh restart NAME        stop it if it runs, start it again with the same data
./run.sh faults API FAULT    have a web service of --fake-apis fail: API is postcodes, getthedata or omdb; FAULT is none,
                             status:CODE, hang, slow:TIME, cut, drip, bad_json, html, huge, lie, redirect or refuse
./run.sh down                stop all

NAME is nameserver, replica.1 …, frontend.1 …, fake-apis. --fresh forgets all data first. --ns-port 0 takes any free
port. --fake-apis asks a stand-in of our own in place of the web services; --offline asks nobody.
BIN=DIR (environment) uses the programs in DIR and builds nothing.
END
}

# fail CODE SENTENCE [WHAT TO TRY]: the exit codes are those of the client (README, "Error codes").
fail() {
    printf 'error: %s\n' "$2" >&2
    if [ $# -gt 2 ]; then printf '  try: %s\n' "$3" >&2; fi
    exit "$1"
}

# --- processes --------------------------------------------------------------------------------------------------

# When a process began, so that a pid used again is not taken for the old one; fails when it is no more (or a zombie).
start_time() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    local fields
    read -ra fields <<<"${stat##*) }" # the command's name, in parentheses, may hold anything
    [[ ${fields[0]} != [ZX] ]] && echo "${fields[19]}"
}

# Prints the pid of NAME; fails unless exactly the recorded process lives.
pid_of() {
    local pid start
    { read -r pid start <"$run/$1.pid"; } 2>/dev/null || return 1
    is_the_one "$pid" "$start" && echo "$pid"
}

# Whether process $1 is the one that began at $2.
is_the_one() { [ -n "$2" ] && [ "$(start_time "$1")" = "$2" ]; }

address_of() { cat "$run/$1.addr" 2>/dev/null; }

# Waits up to SECONDS for the end of NAME.
await_end() { flock -w "$2" "$run/$1.lock" true; }

signal() {
    local pid
    if pid=$(pid_of "$2"); then kill "-$1" "$pid" 2>/dev/null || true; fi
}

# Waits for the end of NAME, which was asked to stop; kills it after 5 s.
stopped() {
    if ! await_end "$1" 5; then
        signal KILL "$1"
        await_end "$1" 5 || fail 5 "$1 does not die" "./run.sh status"
    fi
    rm -f "$run/$1.pid"
}

# Becomes NAME, as its .args say; for `launch`. The first line of its standard output goes to the fifo as well.
declare -A ready_line started
become() {
    local name=$1 log=$run/$1.log pid=$BASHPID command fd
    for fd in "${ready_line[@]}"; do exec {fd}<&-; done # those of processes started before are not ours
    mapfile -t command <"$run/$name.args"
    exec 9>"$run/$name.lock"
    flock -n 9 || fail 5 "$name runs already" "./run.sh status"
    echo "$pid $(start_time "$pid")" >"$run/$name.pid"
    # shellcheck disable=SC2094 # both append
    if [ "$2" = headless ]; then
        exec setsid "${command[@]}" </dev/null 2>>"$log" > >(exec tee -ipa "$log" 9>&- >"$run/$name.ready")
    else
        exec "${command[@]}" 2> >(exec tee -ipa "$log" 9>&- >&2) \
            > >(exec tee -ip /dev/stderr 9>&- >"$run/$name.ready")
    fi
}

# Starts NAME as its .args say. Its ready line is to be awaited with `ready`.
launch() {
    local name=$1 fd
    rm -f "$run/$name.addr" "$run/$name.ready"
    mkfifo "$run/$name.ready"
    # The reader is there first, so that the writer's open never waits.
    exec {fd}< <(exec timeout 30 head -n 1 "$run/$name.ready" 8>&-)
    ready_line[$name]=$fd
    case $mode in
        headless)
            become "$name" headless 8>&- &
            started[$name]=$!
            ;;
        xterm) open_window "$name" "$self" --become "$name" ;;
        tmux) open_pane "$name" "$self" --become "$name" ;;
    esac
}

# Waits for the ready line of NAME, notes its address and prints it.
ready() {
    local name=$1 line='' code=5 fd=${ready_line[$1]}
    read -r line <&"$fd" || true
    exec {fd}<&-
    unset "ready_line[$name]"
    rm -f "$run/$name.ready"
    if [[ $line =~ \ ready\ .*address=([^ ]+) ]]; then
        echo "${BASH_REMATCH[1]}" >"$run/$name.addr"
        echo "$line" >"$run/$name.ready_line"
        printf '  %-12s %s\n' "$name" "${line#* ready }"
        return
    fi
    if [ -n "${started[$name]-}" ] && await_end "$name" 1; then wait "${started[$name]}" || code=$?; fi
    tail -n 5 "$run/$name.log" >&2
    case $name in
        nameserver) fail "$code" "nameserver did not start" "another port, with --ns-port; or ./run.sh logs nameserver" ;;
        frontend.*) fail "$code" "$name did not start" "another address, with --http; or ./run.sh logs $name" ;;
        *) fail "$code" "$name did not start" "./run.sh logs $name" ;;
    esac
}

# --- windows ----------------------------------------------------------------------------------------------------

choose_mode() {
    if timeout 2 xterm -e true 2>/dev/null; then
        echo xterm
    elif [ -t 1 ] && command -v tmux >/dev/null; then
        echo tmux
    else
        echo headless
    fi
}

# Opens an xterm for NAME in the place of its former one: each process has its own, the client the last.
open_window() {
    local name=$1 pid start all at=0
    shift
    if { read -r pid start <"$run/$name.window"; } 2>/dev/null && is_the_one "$pid" "$start"; then
        kill "$pid"
    fi
    mapfile -t all < <(names)
    while [ "$at" -lt "${#all[@]}" ] && [ "${all[at]}" != "$name" ]; do at=$((at + 1)); done
    # shellcheck disable=SC2017 # rows are whole numbers
    setsid xterm -hold -T "$name" -geometry "80x18+$((at % 3 * 500))+$((at / 3 * 320))" \
        -e "$@" >/dev/null 2>&1 8>&- &
    echo "$! $(start_time $!)" >"$run/$name.window"
}

tmux_here() { command tmux -L "just-hungry-$(<"$run/port")" "$@" 8>&-; }

# Opens a pane for NAME, or starts it again in its former one.
open_pane() {
    local name=$1 pane
    shift
    pane=$(cat "$run/$name.window" 2>/dev/null) || pane=
    if [ -n "$pane" ] && tmux_here respawn-pane -k -t "$pane" "$@" 2>/dev/null; then return; fi
    if tmux_here has-session -t cluster 2>/dev/null; then
        pane=$(tmux_here list-panes -t cluster -F '#{pane_id}' | tail -n 1) # behind the last one
        pane=$(tmux_here split-window -d -t "$pane" -P -F '#{pane_id}' "$@")
        tmux_here select-layout -t cluster tiled >/dev/null
    else
        pane=$(tmux_here new-session -d -s cluster -x 200 -y 50 -P -F '#{pane_id}' "$@")
        tmux_here set -g remain-on-exit on
        tmux_here set -g pane-border-status top
        tmux_here set -g mouse on
    fi
    tmux_here select-pane -t "$pane" -T "$name"
    echo "$pane" >"$run/$name.window"
}

# A shell in which `client` is a command, beside the servers.
open_client() {
    local shell=(env "NAME_SERVER=$(address_of nameserver)" "PATH=$bin:$PATH" "${SHELL:-bash}")
    case $mode in
        xterm) open_window client "${shell[@]}" ;;
        tmux)
            open_pane client "${shell[@]}"
            tmux_here select-pane -t "$(<"$run/client.window")"
            if [ -t 1 ] && [ -z "${TMUX-}" ]; then
                flock -u 8
                tmux_here attach -t cluster
            else
                echo "watch it:  tmux -L just-hungry-$(<"$run/port") attach"
            fi
            ;;
    esac
}

# --- verbs ------------------------------------------------------------------------------------------------------

# compile PROGRAM WHAT…: builds that; where PROGRAM is not there yet, says why nothing happens for so long.
compile() {
    [ -x "$bin/$1" ] || echo "building for the first time: this takes some minutes" >&2
    cargo build --release --quiet "${@:2}" 8>&-
}

# Where the programs are; builds what changed, the stand-in only if it is asked for.
build() {
    if [ -n "${BIN-}" ]; then
        bin=$BIN
    else
        bin=${CARGO_TARGET_DIR:-$PWD/target}/release
        command -v cargo >/dev/null || fail 2 "cargo is not installed" "https://rustup.rs"
        local programs=(-p nameserver -p replica -p frontend -p client)
        if [ "${1-}" = fake-apis ]; then
            # In one go: the stand-in, with the tests' libraries, would have all others built a second time.
            compile fake-apis "${programs[@]}" -p cluster-tests --bin nameserver --bin replica --bin frontend --bin client --bin fake-apis
        else
            compile client "${programs[@]}"
        fi
    fi
    [ -x "$bin/nameserver" ] || fail 2 "no programs in $bin" "without BIN, so that they are built"
}

# Names of processes that there are or were, in the order in which they are started.
names() {
    local file
    for file in "$run"/{nameserver,fake-apis,replica.*,frontend.*}.args; do
        file=${file##*/}
        if [ -e "$run/$file" ]; then echo "${file%.args}"; fi
    done
}

known() {
    [[ $1 != */* && -e $run/$1.args ]] || fail 3 "there is no process $1 (there are: $(names | tr '\n' ' '))" "./run.sh status"
}

# Writes how NAME is to be started: program and arguments, one a line.
plan() {
    local name=$1
    shift
    printf '%s\n' "$@" >"$run/$name.args"
}

up() {
    local asked=auto replicas=3 front_ends=1 port='' http='' min_in_sync=1 fresh='' yes='' world=real
    while [ $# -gt 0 ]; do
        case $1 in
            --fresh) fresh=1 && shift && continue ;;
            --yes | -y) yes=1 && shift && continue ;;
            --fake-apis | --offline)
                [[ $world == real || $world == "${1#--}" ]] || fail 2 "$1 and --$world exclude each other" "one of them"
                world=${1#--} && shift && continue
                ;;
            --mode | --replicas | --front-ends | --ns-port | --http | --min-in-sync) ;;
            *) fail 2 "unknown argument $1" "./run.sh help" ;;
        esac
        [ $# -gt 1 ] || fail 2 "$1 needs a value" "./run.sh help"
        case $1 in
            --mode) asked=$2 && [[ $2 =~ ^(auto|xterm|tmux|headless)$ ]] ;;
            --replicas) replicas=$2 && [[ $2 =~ ^[1-9]$ ]] ;;
            --front-ends) front_ends=$2 && [[ $2 =~ ^[1-9]$ ]] ;;
            --ns-port) port=$2 && [[ $2 =~ ^[0-9]{1,5}$ ]] ;;
            --http) http=$2 && [[ $2 =~ ^(off|.+:[0-9]{1,5})$ ]] ;;
            --min-in-sync) min_in_sync=$2 && [[ $2 =~ ^[1-7]$ ]] ;;
        esac || fail 2 "$2 is no value for $1" "./run.sh help"
        shift 2
    done
    build "$world"
    if [ -n "$fresh" ]; then forget "$yes"; fi

    mode=$(cat "$run/mode" 2>/dev/null) || mode=
    if [ -z "$(running)" ] || [ -z "$mode" ]; then
        mode=$asked
        if [ "$mode" = auto ]; then mode=$(choose_mode); fi
        echo "$mode" >"$run/mode"
        if [ "$port" = 0 ]; then echo "any-$$"; else echo "${port:-9090}"; fi >"$run/port" # names the tmux socket
        rm -f "$run"/*.window
    fi

    # Who is alive already, but was never seen ready, belongs to a start that was cut off.
    local name
    for name in $(running); do
        [ -e "$run/$name.addr" ] || { signal TERM "$name" && stopped "$name"; }
    done

    # Whoever still runs knows the name server by the address it had.
    local listen=127.0.0.1:${port:-9090} servers first=() page=() asks=() key=() all=() n
    if [ -n "$(running)" ] && address_of nameserver >/dev/null; then listen=$(address_of nameserver); fi
    plan nameserver "$bin/nameserver" -l "$listen" --store "$run/nameserver.redb"
    all=(nameserver)
    if [ "$world" = fake-apis ]; then
        # Front ends that still run, or are started again, find it where it was.
        plan fake-apis "$bin/fake-apis" -l "$(address_of fake-apis || echo 127.0.0.1:0)"
        all+=(fake-apis)
    fi
    begin "${all[@]}"
    all=()
    servers=$(address_of nameserver)
    case $world in
        offline) asks=(--postcodes offline) key=(env -u OMDB_API_KEY) ;;
        fake-apis)
            local line
            line=$(<"$run/fake-apis.ready_line")
            asks=(--postcodes auto --postcodes-url "$(field postcodes "$line")" --getthedata-url "$(field getthedata "$line")"
                --omdb-url "$(field omdb "$line")")
            # There is no flag for a key; the stand-in takes this one.
            key=(env OMDB_API_KEY=test-key)
            ;;
    esac

    # Only a cluster that never served is new: --first beside old data would hide them.
    if [ ! -e "$run/served" ]; then
        first=(--first)
        [ "$min_in_sync" = 1 ] || first+=(--min-in-sync "$min_in_sync")
    fi
    for n in $(seq "$replicas"); do
        plan "replica.$n" "$bin/replica" "$n" -n "$servers" --data-dir "$run/replica.$n" "${first[@]}"
        first=()
        all+=("replica.$n")
    done
    for n in $(seq "$front_ends"); do
        # A front end that is not told where to put its page finds a free port by itself.
        case $http:$n in :* | *:[!1]) page=() ;; *) page=(--http "$http") ;; esac
        if [ "$http" = off ]; then page=(--http off); fi
        plan "frontend.$n" "${key[@]}" "$bin/frontend" -n "$servers" "${page[@]}" "${asks[@]}"
        all+=("frontend.$n")
    done
    begin "${all[@]}"

    "$bin/client" -n "$servers" -q cluster wait --replicas "$replicas" --timeout 30s
    touch "$run/served"
    printf '\nserving; name server %s, logs and data in .run/\n' "$servers"
    sed -n "s|.* http=\(http[^ ]*\).*|in a browser: \1/   for programs: \1/readyz, \1/metrics|p" "$run/frontend.1.ready_line"
    printf '  %s\n' './run.sh client menu' './run.sh kill replica.1' './run.sh down'
    open_client
}

# The value of key $1 in the ready line $2.
field() { [[ " $2 " =~ \ $1=([^ ]+)\  ]] && echo "${BASH_REMATCH[1]}"; }

# Starts those of the given processes that do not run, all at once, and waits for them.
begin() {
    local name begun=()
    for name in "$@"; do
        if pid_of "$name" >/dev/null; then
            printf '  %-12s %s\n' "$name" "runs already, address=$(address_of "$name")"
        else
            launch "$name"
            begun+=("$name")
        fi
    done
    for name in "${begun[@]}"; do ready "$name"; done
}

running() {
    local name
    for name in $(names); do
        if pid_of "$name" >/dev/null; then echo "$name"; fi
    done
}

# Stops everything and deletes all data, if that is meant.
forget() {
    [ -e "$run/nameserver.redb" ] || return 0
    if [ -z "$1" ]; then
        [ -t 0 ] || fail 4 "--fresh deletes all data in .run/" "--fresh --yes"
        local answer
        read -rp "Delete all data in .run/? [y/N] " answer
        [[ $answer =~ ^[Yy]([Ee][Ss])?$ ]] || fail 4 "nothing was deleted"
    fi
    down
    rm -rf "$run"/nameserver.redb* "$run"/replica.*/ "$run"/*.{log,args,lock} "$run/served"
}

client() {
    build
    exec "$bin/client" -n "$(address_of nameserver || echo 127.0.0.1:9090)" "$@" 8>&-
}

status() {
    local name pid
    for name in $(names); do
        if pid=$(pid_of "$name"); then
            printf '  %-12s pid %-8s %s\n' "$name" "$pid" "$(address_of "$name")"
        else
            printf '  %-12s stopped\n' "$name"
        fi
    done
    [ -n "$(running)" ] || fail 5 "nothing runs" "./run.sh up"
    echo
    client cluster status
}

logs() {
    local follow=()
    if [ "${1-}" = -f ]; then follow=(-F) && shift; fi
    if [ $# -gt 0 ]; then known "$1"; fi
    local files=("$run/${1-*}".log)
    [ $# -gt 0 ] || files=("$run"/*.log)
    [ -e "${files[0]}" ] || fail 5 "nothing was written yet" "./run.sh up"
    exec tail -n +1 "${follow[@]}" "${files[@]}"
}

kill_hard() {
    known "$1"
    local pid
    pid=$(pid_of "$1") || fail 3 "$1 does not run" "./run.sh restart $1"
    kill -KILL "$pid"
    await_end "$1" 5 || fail 5 "$1 does not die" "./run.sh status"
    echo "killed $1 (pid $pid)"
}

restart() {
    known "$1"
    local name=$1 address args
    mode=$(<"$run/mode")
    signal TERM "$name"
    stopped "$name"
    # Others know them by the address they had.
    if [[ $name =~ ^(nameserver|fake-apis)$ ]] && address=$(address_of "$name"); then
        mapfile -t args <"$run/$name.args"
        plan "$name" "${args[0]}" -l "$address" "${args[@]:3}"
    fi
    begin "$name"
}

# Front ends first, then the name server, then the replicas: so nobody is taken out of an in-sync set by a full stop.
down() {
    local stage name
    for stage in frontend fake-apis nameserver replica; do
        for name in $(running | grep "^$stage"); do signal TERM "$name"; done
        for name in $(names | grep "^$stage"); do
            [ ! -e "$run/$name.pid" ] || stopped "$name"
        done
    done
    if [ -e "$run/port" ]; then tmux_here kill-server 2>/dev/null || true; fi
    close_windows
    rm -f "$run"/*.{addr,window,ready,ready_line}
    echo "nothing runs any more"
}

close_windows() {
    local file pid start
    for file in "$run"/*.window; do
        if { read -r pid start <"$file"; } 2>/dev/null && is_the_one "$pid" "$start"; then kill "$pid"; fi
    done
}

# Has a web service of the stand-in fail from now on. HTTP by hand: no other program is needed for it.
faults() {
    [[ $# -eq 2 && $1$2 =~ ^[a-z0-9:_]+$ ]] || fail 2 "faults needs a web service and a fault" "./run.sh help"
    pid_of fake-apis >/dev/null || fail 3 "there is no stand-in" "./run.sh up --fake-apis"
    local at body="{\"fault\":\"$2\"}" status why
    at=$(address_of fake-apis)
    exec 7<>"/dev/tcp/${at%:*}/${at##*:}"
    printf '%s\r\n' "PUT /_faults/$1 HTTP/1.1" "Host: $at" "Content-Type: application/json" \
        "Content-Length: ${#body}" "Connection: close" "" >&7
    printf '%s' "$body" >&7
    read -r _ status _ <&7
    why=$(tail -n 1 <&7)
    exec 7>&-
    [ "$status" = 204 ] || fail 2 "${why:-the stand-in answers $status}" "./run.sh help"
    echo "$1: $2"
}

one_name() { [ $# -eq 2 ] || fail 2 "$1 needs the name of one process" "./run.sh status"; }

mkdir -p "$run"
case ${1-} in
    --help | --become) ;;
    '' | -[!h]*) set -- up "$@" ;;
esac
case $1 in
    up | restart | kill | down)
        # One at a time.
        exec 8>"$run/lock"
        flock 8
        ;;
esac
case $1 in
    up) up "${@:2}" ;;
    -h | --help | help) usage ;;
    client) client "${@:2}" ;;
    status) status ;;
    logs) logs "${@:2}" ;;
    kill) one_name "$@" && kill_hard "$2" ;;
    restart) one_name "$@" && restart "$2" ;;
    faults) faults "${@:2}" ;;
    down) down ;;
    --become) become "$2" window ;;
    *) fail 2 "unknown command $1" "./run.sh help" ;;
esac

#!/usr/bin/env bash
# A real etcd and kube-apiserver on loopback, built from Go modules: no container engine, no root.
set -euo pipefail
shopt -s nullglob
callers_umask=$(umask)
umask 077

usage() {
  cat <<'END'
Usage: sandbox.sh COMMAND

  up [--dir DIR]                  start a sandbox, leave it running, print the path of its kubeconfig
  down [--dir DIR]                end it and remove its folder
  status [--dir DIR]              say whether it is up (exit 0) or not (exit 1)
  user [--dir DIR] NAME [GROUP..] print the path of a kubeconfig for a user with a client certificate
  run CMD [ARG..]                 run CMD with a sandbox of its own, end that, exit with CMD's code
  build [PART..]                  build what is missing: pki, etcd, kube-apiserver, kubectl

DIR is the sandbox's folder: kubeconfig, audit.log (every request), etcd.log, kube-apiserver.log.
The default is $SANDBOX_DIR, else k8s-bootstrap/sandbox in ${XDG_STATE_HOME:-~/.local/state}.
run sets KUBECONFIG and SANDBOX_DIR for CMD.

Binaries are kept in ${K8S_BOOTSTRAP_CACHE:-${XDG_CACHE_HOME:-~/.cache}/k8s-bootstrap}/bin.
Building needs Go and takes about five minutes the first time; Linux only.
END
}

say() { printf 'sandbox: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
wrong_usage() { say "$*"; usage >&2; exit 2; }

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cache=${K8S_BOOTSTRAP_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/k8s-bootstrap}
bin_dir=$cache/bin

# Sets folder, package, version, ldflags, seconds (with a cold Go cache) and bin for part $1.
part() {
  local module=''
  ldflags='-s -w'
  case $1 in
    pki) folder=pki package=. seconds=30 ;;
    etcd) folder=etcd package=go.etcd.io/etcd/server/v3 module=$package seconds=75 ;;
    kube-apiserver) folder=kubernetes package=k8s.io/kubernetes/cmd/$1 module=k8s.io/kubernetes seconds=200 ;;
    kubectl) folder=kubernetes package=k8s.io/kubernetes/cmd/$1 module=k8s.io/kubernetes seconds=100 ;;
    *) wrong_usage "unknown part: $1" ;;
  esac
  version=''
  if [ -n "$module" ]; then
    version=$(awk -v m="$module" '{ for (i = 1; i < NF; i++) if ($i == m && $(i+1) ~ /^v[0-9]/) { print $(i+1); exit } }' \
      "$here/sandbox/$folder/go.mod")
    [ -n "$version" ] || die "no version of $module in $here/sandbox/$folder/go.mod"
  fi
  if [ "$module" = k8s.io/kubernetes ]; then
    # Built as a module it would call itself v0.0.0.
    local var='-X k8s.io/component-base/version.git' major=${version#v} minor=${version#v*.}
    ldflags+=" ${var}Version=$version ${var}Major=${major%%.*} ${var}Minor=${minor%%.*}"
  fi
  local key
  key=$({ cat "$here/sandbox/$folder"/{go.mod,go.su[m],*.go} && echo "$package $ldflags"; } | sha256sum)
  bin=$bin_dir/$1${version:+-$version}-${key:0:10}
}

build_parts() {
  local name n=0 missing=()
  for name; do
    part "$name"
    [ -x "$bin" ] || missing+=("$name")
  done
  for name in "${missing[@]}"; do
    n=$((n + 1))
    build_part "$name" "$n of ${#missing[@]}"
  done
}

build_part() {
  part "$1"
  command -v go >/dev/null ||
    die "$1 must be built and there is no go on PATH: install Go 1.26 or newer (https://go.dev/dl) and add its bin folder to PATH"
  mkdir -p "$bin_dir"
  exec 9>"$bin_dir/.$1.lock"
  if ! flock -n 9; then
    say "another build of $1 is running: waiting for it"
    in_background flock 9
    finish
  fi
  [ -x "$bin" ] || compile "$1" "$2"
  exec 9>&-
}

compile() {
  local label="building $1${version:+ $version} ($2; about $seconds s on a cold cache)"
  local log=$bin.log list=$bin.list started=$SECONDS
  local flags=(-trimpath -ldflags "$ldflags")
  scratch=("$bin.new" "$log" "$list")
  : >"$log"
  : >"$list"
  say "$label"
  # The list costs a second or two and makes the progress true: it names just what will be compiled.
  if in_background go_tool list -deps "${flags[@]}" -f '{{if .Stale}}{{.ImportPath}}{{end}}' "$package" &&
    progress && in_background go_tool build -v "${flags[@]}" -o "$bin.new" "$package" && progress; then
    mv "$bin.new" "$bin"
    rm -f "$log" "$list"
    scratch=()
    say "built $1 in $((SECONDS - started)) s"
  else
    scratch=("$bin.new" "$list")
    tail -n 25 "$log" >&2
    die "building $1 failed; all of go's output is in $log"
  fi
}

# Only called by compile, as a background process of its own.
go_tool() {
  cd "$here/sandbox/$folder"
  if [ "$1" = list ]; then exec >"$list"; else exec >>"$log"; fi
  exec env GOFLAGS='-mod=readonly -buildvcs=false' GOWORK=off CGO_ENABLED=0 go "$@" </dev/null 2>>"$log"
}

# Waits for $child and shows how far it is: in place on a terminal, else a line every ten seconds.
progress() {
  local line next=$((SECONDS + 10)) status=0 compiled fetched total
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.5
    if [ ! -t 2 ] && [ "$SECONDS" -lt "$next" ]; then continue; fi
    next=$((SECONDS + 10))
    compiled=$(grep -cv '^go: ' "$log" || true)
    fetched=$(grep -c '^go: downloading ' "$log" || true)
    total=$(wc -l <"$list")
    line="$label ... $compiled of $total packages, $((SECONDS - started)) s"
    [ "$total" -gt 0 ] || line="$label ... $fetched modules fetched, $((SECONDS - started)) s"
    if [ -t 2 ]; then printf '\r\033[Ksandbox: %s' "$line" >&2; else say "$line"; fi
  done
  [ ! -t 2 ] || printf '\r\033[K' >&2
  finish || status=$?
  return "$status"
}

child=''      # what this script is waiting for
scratch=()    # files of an unfinished build
unfinished='' # set while the sandbox in $dir has to go when this script ends
running_cmd='' signalled='' ending=''

# In the background, since bash runs no trap while it waits for a foreground process.
in_background() { "$@" & child=$!; }

finish() {
  local status=0
  wait "$child" || status=$?
  child=''
  return "$status"
}

on_exit() {
  trap '' INT TERM HUP
  [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true
  [ ${#scratch[@]} -eq 0 ] || rm -f "${scratch[@]}"
  [ -z "$unfinished" ] || stop
}

# While CMD runs this only takes notes and passes the signal on, since a second one may come at once.
on_signal() { # $1 name, $2 exit code
  [ -n "$running_cmd" ] || exit "$2"
  signalled=1
  if [ "$1" != INT ]; then
    ending=1
  elif [ -t 0 ]; then
    return 0 # the terminal has sent it to CMD as well
  fi
  kill -s "$1" "$child" 2>/dev/null || true
}

trap on_exit EXIT
trap 'on_signal HUP 129' HUP
trap 'on_signal INT 130' INT
trap 'on_signal TERM 143' TERM

# A process id may have passed to a stranger: ours is what names our folder, or what this script has
# just forked.
ours() {
  if tr '\0' '\n' 2>/dev/null <"/proc/$1/cmdline" | grep -qF -- "=$dir/"; then
    return 0
  fi
  awk -v parent=$$ '$1 == "State:" && $2 == "Z" { exit 1 } $1 == "PPid:" { exit $2 != parent }' "/proc/$1/status" 2>/dev/null
}

is_up() {
  [ -s "$dir/pids" ] || return 1
  local name pid
  while read -r name pid; do ours "$pid" || return 1; done <"$dir/pids"
  "$pki" ready "$dir" 2>/dev/null
}

end_servers() {
  local name pid
  [ -f "$dir/pids" ] || return 0
  # SIGKILL: the data goes with the folder, and a polite end would wait for open watches.
  while read -r name pid; do
    if ours "$pid"; then kill -KILL "$pid" 2>/dev/null || true; fi
  done <"$dir/pids"
  while read -r name pid; do
    while ours "$pid"; do sleep 0.05; done
  done <"$dir/pids"
  : >"$dir/pids"
}

stop() {
  end_servers
  rm -rf -- "$dir"
  unfinished=''
}

# Starts server $1 with the other arguments; $parent is the process to end with, or 0.
serve() {
  local name=$1 log=$dir/$1.log
  shift
  part "$name"
  # Without the caller's environment: etcd for one takes settings from it.
  (cd "$dir" && exec env -i PATH="$PATH" HOME="$dir" "$pki" exec "$parent" "$log" "$bin" "$@") &
  echo "$name $!" >>"$dir/pids"
  disown
}

start_servers() {
  local port
  port=$("$pki" init "$dir")
  cat >"$dir/audit-policy.yaml" <<'END'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
END
  # etcd listens on sockets in the folder only: no port to collide on, nobody else can talk to it.
  # The names are relative, because a socket's path has to be short.
  serve etcd --data-dir="$dir/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls=unix://etcd.sock --advertise-client-urls=unix://etcd.sock \
    --listen-peer-urls=unix://peer.sock --initial-advertise-peer-urls=unix://peer.sock \
    --initial-cluster=default=unix://peer.sock
  until [ -S "$dir/etcd.sock" ]; do
    all_running || return 1
    sleep 0.05
  done
  # No endpoint reconciler: it refuses a loopback address. Blocking audit log: what has been
  # answered is in the log.
  serve kube-apiserver --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="$port" \
    --endpoint-reconciler-type=none --etcd-servers=unix://etcd.sock \
    --service-cluster-ip-range=10.0.0.0/24 --allow-privileged=true --authorization-mode=Node,RBAC \
    --cert-dir="$dir/pki" --tls-cert-file="$dir/pki/server.crt" --tls-private-key-file="$dir/pki/server.key" \
    --client-ca-file="$dir/pki/ca.crt" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-signing-key-file="$dir/pki/sa.key" --service-account-key-file="$dir/pki/sa.pub" \
    --audit-policy-file="$dir/audit-policy.yaml" --audit-log-path="$dir/audit.log" --audit-log-mode=blocking \
    --kubelet-preferred-address-types=InternalIP
  local deadline=$((SECONDS + 90))
  until "$pki" ready "$dir" 2>/dev/null; do
    all_running || return 1
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
  # Ready is what answers on the port; that it is ours and not a neighbour's, the CA has proved.
  all_running
}

all_running() {
  local name pid
  while read -r name pid; do ours "$pid" || return 1; done <"$dir/pids"
}

# Needs an empty $dir.
start() {
  local attempt log
  unfinished=1
  : >"$dir/pids"
  for attempt in 1 2 3; do
    if start_servers; then break; fi
    if [ "$attempt" = 3 ] || ! grep -q 'address already in use' "$dir"/*.log; then
      for log in "$dir"/{etcd,kube-apiserver}.log; do
        [ -f "$log" ] || continue
        say "the end of $(basename "$log"):"
        tail -n 20 "$log" >&2
      done
      die "the sandbox did not start"
    fi
    say "the port was taken meanwhile: trying another"
    end_servers
    rm -rf -- "${dir:?}"/{etcd,pki,*.sock,*.log}
  done
  if ! command -v kubectl >/dev/null; then
    mkdir -p "$dir/bin"
    part kubectl
    ln -sf "$bin" "$dir/bin/kubectl"
  fi
}

needed_parts() {
  echo pki etcd kube-apiserver
  command -v kubectl >/dev/null || echo kubectl
}

build_needed() {
  local needed
  mapfile -t needed < <(needed_parts | tr ' ' '\n')
  build_parts "${needed[@]}"
  find_pki
}

find_pki() {
  part pki
  pki=$bin
}

# Takes --dir from the arguments into $dir, and leaves the others in rest.
take_dir() {
  dir=${SANDBOX_DIR:-${XDG_STATE_HOME:-${HOME:?}/.local/state}/k8s-bootstrap/sandbox}
  rest=()
  while [ $# -gt 0 ]; do
    case $1 in
      --dir) [ $# -ge 2 ] || wrong_usage "--dir needs a folder"; dir=$2; shift 2 ;;
      --dir=*) dir=${1#--dir=}; shift ;;
      --) shift; rest+=("$@"); break ;;
      -*) wrong_usage "unknown option: $1" ;;
      *) rest+=("$1"); shift ;;
    esac
  done
  case $dir in
    '') wrong_usage "--dir needs a folder" ;;
    *:*) wrong_usage "$dir: a colon separates files in KUBECONFIG, so the folder's name cannot have one" ;;
  esac
  dir=$(readlink -m -- "$dir")
}

no_more() { [ ${#rest[@]} -eq 0 ] || wrong_usage "unexpected argument: ${rest[0]}"; }

# One up or down at a time.
lock() {
  mkdir -p "$cache"
  exec 8>"$cache/up.lock"
  in_background flock 8
  finish
}

require_sandbox() {
  [ ! -d "$dir" ] || [ -f "$dir/pids" ] || [ -z "$(ls -A "$dir")" ] ||
    die "$dir is not a sandbox's folder and not empty: name another"
}

cmd_up() {
  take_dir "$@"
  no_more
  require_sandbox
  build_needed
  lock
  if ! is_up; then
    if [ -f "$dir/pids" ]; then
      say "the sandbox in $dir has ended: starting a new one"
      stop
    fi
    mkdir -p "$dir"
    say "starting in $dir"
    start
    unfinished=''
    [ ! -e "$dir/bin/kubectl" ] || say "no kubectl on PATH; one is in $dir/bin"
  fi
  echo "$dir/kubeconfig"
}

cmd_down() {
  take_dir "$@"
  no_more
  require_sandbox
  lock
  if [ -d "$dir" ]; then stop; else say "no sandbox in $dir"; fi
}

cmd_status() {
  take_dir "$@"
  no_more
  [ ! -f "$dir/pids" ] || build_parts pki
  find_pki
  if is_up; then
    echo "up: $dir, https://127.0.0.1:$(cat "$dir/port")"
  else
    echo "down: $dir"
    return 1
  fi
}

cmd_user() {
  take_dir "$@"
  [ ${#rest[@]} -ge 1 ] || wrong_usage "user needs a name"
  [ -f "$dir/port" ] || die "no sandbox in $dir: start it with up"
  build_parts pki
  find_pki
  "$pki" user "$dir" "${rest[@]}"
}

cmd_run() {
  [ "${1-}" != -- ] || shift
  [ $# -ge 1 ] || wrong_usage "run needs a command"
  build_needed
  parent=$$
  dir=$(mktemp -d "${TMPDIR:-/tmp}/k8s-bootstrap-sandbox.XXXXXX")
  dir=$(readlink -f "$dir")
  unfinished=1
  # Should this script be killed, the servers end with it and this one removes the folder.
  env -i "$pki" reap "$parent" "$dir" </dev/null >/dev/null 2>&1 &
  disown
  start
  [ ! -d "$dir/bin" ] || PATH=$dir/bin:$PATH
  export PATH KUBECONFIG=$dir/kubeconfig SANDBOX_DIR=$dir
  running_cmd=1
  # In the background for the traps' sake, but with the caller's input and without the deafness to
  # SIGINT that bash gives background processes.
  (
    trap - INT QUIT TERM HUP EXIT
    umask "$callers_umask"
    exec "$@"
  ) <&0 &
  child=$!
  local code i
  while :; do
    signalled='' code=0
    wait "$child" || code=$?
    # bash 5.2 loses the status of a child that dies as the signal comes (Ctrl-C), and would wait for
    # it for ever; the code is then the signal's.
    if [ -z "$signalled" ] || [ -n "$ending" ] || ! kill -0 "$child" 2>/dev/null; then break; fi
  done
  if [ -n "$ending" ] && kill -0 "$child" 2>/dev/null; then
    for ((i = 0; i < 50; i++)); do
      kill -0 "$child" 2>/dev/null || break
      sleep 0.1 || true
    done
    kill -KILL "$child" 2>/dev/null || true
    code=0
    wait "$child" || code=$?
  fi
  child='' running_cmd=''
  exit "$code"
}

cmd_build() {
  if [ $# -gt 0 ]; then build_parts "$@"; else build_needed; fi
}

parent=0
command=${1-}
[ $# -eq 0 ] || shift
[ "$(uname -s)" = Linux ] || [ "$command" = -h ] || [ "$command" = --help ] || die "this needs Linux"
case $command in
  up | down | status | user | run | build) "cmd_$command" "$@" ;;
  -h | --help) usage ;;
  '') wrong_usage "no command" ;;
  *) wrong_usage "unknown command: $command" ;;
esac

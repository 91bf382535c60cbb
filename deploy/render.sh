#!/bin/sh
# Writes deploy/manifests.yaml from the charts with their own values; with --check, says whether it is current. HELM: the helm to use.
set -eu
cd "$(dirname "$0")/.."
HELM=${HELM:-helm}
if [ "${1:-}" != --check ]; then cp crds/*.yaml charts/llm-portfolio-crds/templates/; fi
made=$(mktemp)
trap 'rm -f "$made"' EXIT
{
  echo '# llm-portfolio in the namespace llm-portfolio, rendered from charts/ by deploy/render.sh. Not edited by hand.'
  echo '# kubectl apply --server-side -f deploy/manifests.yaml'
  echo '---'
  echo 'apiVersion: v1'
  echo 'kind: Namespace'
  echo 'metadata:'
  echo '  name: llm-portfolio'
  echo '  labels:'
  echo '    pod-security.kubernetes.io/enforce: restricted'
  "$HELM" template llm-portfolio-crds charts/llm-portfolio-crds --namespace llm-portfolio
  "$HELM" template llm-portfolio charts/llm-portfolio --namespace llm-portfolio
} >"$made"
if [ "${1:-}" = --check ]; then
  diff -u deploy/manifests.yaml "$made" || { echo 'deploy/manifests.yaml is not current: run deploy/render.sh' >&2; exit 1; }
else
  cp "$made" deploy/manifests.yaml
fi

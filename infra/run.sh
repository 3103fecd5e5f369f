#!/bin/sh
# What the Lambda Web Adapter starts beside itself, and a container: the router, set by its environment.
# boto3 is the runtime's; everything else lies in this folder.
cd "${LAMBDA_TASK_ROOT:-$(dirname "$0")}" || exit 1
export PYTHONPATH="$PWD${LAMBDA_RUNTIME_DIR:+:$LAMBDA_RUNTIME_DIR}"
export PYTHONDONTWRITEBYTECODE=1

state=${SLUICE_STATE:-/tmp/sluice}
mkdir -p "$state" || exit 1
for own in config/profiles config/prices.yaml; do
    [ ! -e "$own" ] || cp -R "$own" "$state/" || exit 1
done

set -- --state "$state" --fleets config/fleets.yaml
if [ -n "$SLUICE_APPCONFIG" ]; then
    set -- "$@" --policy "appconfig:$SLUICE_APPCONFIG"
else
    set -- "$@" --policy config/policy.yaml
fi
[ -z "$SLUICE_TABLE" ] || set -- "$@" --ledger "dynamodb:$SLUICE_TABLE"
[ -z "$SLUICE_RECEIPTS" ] || set -- "$@" --receipts "firehose:$SLUICE_RECEIPTS"
[ -z "$SLUICE_BATCHES" ] || set -- "$@" --batches "s3:$SLUICE_BATCHES"
[ -z "$SLUICE_NAMESPACE" ] || set -- "$@" --metrics "emf:$SLUICE_NAMESPACE"
[ ! -e config/auth.yaml ] || set -- "$@" --auth-config config/auth.yaml
exec python -m router.cli serve --host "${SLUICE_HOST:-127.0.0.1}" --port "${PORT:-8080}" \
    --router-on "${SLUICE_ROUTER_ON:-lambda}" "$@"

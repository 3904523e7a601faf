#!/bin/sh
# Runs an import of Autopilot devices, then makes sure that a sync which includes them has completed:
#
#   import-then-ensure.sh COMMAND [ARGUMENT...]
#
# COMMAND is your import: a script that adds the devices to Intune and ends in 0 when it has. How to sign
# in comes from the environment (AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, or others: see
# `autopilot-sync ensure --help`).
#
# Ends in 0 when the devices have been synced, else in the exit code of the import or of autopilot-sync: 4 the
# service asks for patience, 5 there was no token (also if Entra was not reached) or it refuses the
# application, 6 Graph was not reached, 7 the sync failed, 8 an hour was not enough. Running it again is safe: a sync
# that counts is not asked for twice.
set -eu

"$@"

# Only a sync that is triggered from now on includes all of the import, and without --since no other counts. If the
# service accepts none yet, because the last one was less than ten minutes ago, `ensure` waits.
exec autopilot-sync ensure --deadline 3600

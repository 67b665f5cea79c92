#!/bin/bash
# Run once by the postgres image, when its data volume is new: the ledger gets a database of its
# own, and a role that can reach nothing else.
set -euo pipefail

psql --set ON_ERROR_STOP=1 --set password="$RETRACT_LEDGER_PASSWORD" \
    --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE retract LOGIN PASSWORD :'password';
CREATE DATABASE retract OWNER retract;
REVOKE CONNECT ON DATABASE retract FROM PUBLIC;
REVOKE CONNECT ON DATABASE airflow FROM PUBLIC;
SQL

"""The whole system on one machine: the local tenant beside Airflow on SQLite."""

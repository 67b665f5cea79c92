# One image for every Airflow component and for the local tenant. The slim base has Airflow and
# no providers: what is added is exactly requirements-production.txt, resolved together.
FROM apache/airflow:slim-3.3.2-python3.11

COPY --chown=airflow:0 requirements-production.txt /opt/airflow/
RUN pip install --no-cache-dir --no-deps -r /opt/airflow/requirements-production.txt \
    && pip check

COPY --chown=airflow:0 dags /opt/airflow/dags
COPY --chown=airflow:0 plugins /opt/airflow/plugins
COPY --chown=airflow:0 include /opt/airflow/include

# Named volumes take over the owner of the folder they are mounted on: these must exist here.
RUN mkdir -p /opt/airflow/logs /opt/airflow/retract /opt/airflow/tenant

ENV PYTHONPATH=/opt/airflow/plugins:/opt/airflow/include \
    AIRFLOW__CORE__LOAD_EXAMPLES=False

# The base image's own user, said again so that it is seen: nothing runs as root.
USER airflow

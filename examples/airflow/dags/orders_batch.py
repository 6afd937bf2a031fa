"""Without a daemon: each hour reads what has come until its end, writes and commits it, and ends.

Exit 4 means halted to protect data: the log says what to do, and a retry changes nothing.
"""

import os
from datetime import datetime

from airflow.timetables.interval import CronDataIntervalTimetable

try:  # Airflow 3
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.operators.bash import BashOperator

STREAMWEIR = os.environ.get("STREAMWEIR", "streamweir")
CONFIG = os.environ.get("STREAMWEIR_CONFIG", "/etc/streamweir/config.toml")
PIPELINE = os.environ.get("STREAMWEIR_PIPELINE", "clickstream")

with DAG(
    dag_id="orders_batch",
    # An hour has a beginning and an end: by default Airflow 3 has moments without length.
    schedule=CronDataIntervalTimetable("@hourly", timezone="UTC"),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
) as dag:
    BashOperator(
        task_id="run_until_the_end_of_the_hour",
        bash_command=(
            f"{STREAMWEIR} run --pipeline {PIPELINE} "
            "--until '{{ data_interval_end.isoformat() }}' "
            f"--config {CONFIG}"
        ),
    )

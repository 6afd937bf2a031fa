"""Each hour: wait until the hour is complete in the table, replay dead letters if there are any, publish.

Environment: STREAMWEIR (the program), STREAMWEIR_CONFIG, STREAMWEIR_PIPELINE.
"""

import json
import os
import subprocess
from datetime import datetime, timedelta

from airflow.timetables.interval import CronDataIntervalTimetable
from streamweir_sensor import StreamweirCompleteSensor

try:  # Airflow 3
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.python import BranchPythonOperator
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.operators.bash import BashOperator
    from airflow.operators.python import BranchPythonOperator

STREAMWEIR = os.environ.get("STREAMWEIR", "streamweir")
CONFIG = os.environ.get("STREAMWEIR_CONFIG", "/etc/streamweir/config.toml")
PIPELINE = os.environ.get("STREAMWEIR_PIPELINE", "clickstream")
HOUR = "--since '{{ data_interval_start.isoformat() }}' --until '{{ data_interval_end.isoformat() }}'"


def open_dead_letters(data_interval_start, data_interval_end, **_):
    """Which task follows: the replay where a record of the hour is not in the table."""
    command = [STREAMWEIR, "dead-letters", "list", "--json", "--config", CONFIG]
    command += ["--pipeline", PIPELINE]
    command += ["--since", data_interval_start.isoformat(), "--until", data_interval_end.isoformat()]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    letters = [json.loads(line) for line in listed.stdout.splitlines()]
    is_open = any(letter["state"] == "open" for letter in letters)
    return "replay_dead_letters" if is_open else "publish"


with DAG(
    dag_id="orders_hourly",
    # An hour has a beginning and an end: by default Airflow 3 has moments without length.
    schedule=CronDataIntervalTimetable("@hourly", timezone="UTC"),
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
) as dag:
    complete = StreamweirCompleteSensor(
        task_id="hour_is_complete",
        streamweir=STREAMWEIR,
        config=CONFIG,
        pipeline=PIPELINE,
        poke_interval=10,
        timeout=2 * 3600,
    )
    look = BranchPythonOperator(task_id="look_for_dead_letters", python_callable=open_dead_letters)
    # Exit 1: a record was refused again and stays open. The next replay takes it.
    replay = BashOperator(
        task_id="replay_dead_letters",
        bash_command=f"{STREAMWEIR} dead-letters replay --json --pipeline {PIPELINE} {HOUR} --config {CONFIG}",
    )
    publish = BashOperator(
        task_id="publish",
        bash_command="echo publish {{ data_interval_start.isoformat() }}",
        trigger_rule="none_failed_min_one_success",
    )
    complete >> look >> [replay, publish]
    replay >> publish

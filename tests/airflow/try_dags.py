"""Runs the example DAGs in a real Airflow, against a real Kafka, ClickHouse and streamweir.

    try_dags.py STREAMWEIR PROJECT WORK        with KAFKA_BROKERS, CLICKHOUSE_URL in the environment
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from datetime import datetime, timedelta, timezone

STREAMWEIR, PROJECT, WORK = sys.argv[1:4]
BROKERS, CLICKHOUSE = os.environ["KAFKA_BROKERS"], os.environ["CLICKHOUSE_URL"]
RUN = f"airflow_{uuid.uuid4().hex[:8]}"
CONFIG = f"{WORK}/config.toml"
HOUR = datetime(2026, 3, 2, 10, tzinfo=timezone.utc)

os.environ |= {
    "AIRFLOW_HOME": f"{WORK}/home",
    "AIRFLOW__CORE__DAGS_FOLDER": f"{PROJECT}/examples/airflow/dags",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    "PYTHONDONTWRITEBYTECODE": "1",
    "STREAMWEIR": STREAMWEIR,
    "STREAMWEIR_CONFIG": CONFIG,
    "STREAMWEIR_PIPELINE": "clickstream",
}
sys.path.insert(0, f"{PROJECT}/examples/airflow/dags")

from airflow.models.taskinstance import TaskInstance  # noqa: E402
from airflow.utils.session import create_session  # noqa: E402
from confluent_kafka import Producer  # noqa: E402
from confluent_kafka.admin import AdminClient, NewTopic  # noqa: E402


def streamweir(*arguments):
    done = subprocess.run([STREAMWEIR, *arguments, "--config", CONFIG], capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: {done.returncode}: {done.stderr}"
    return done.stdout


def rows(condition="1"):
    sql = f"SELECT count() FROM {RUN}.clickstream_events WHERE {condition}"
    with urllib.request.urlopen(urllib.request.Request(CLICKHOUSE, data=sql.encode())) as answer:
        return int(answer.read())


def produce(values):
    producer = Producer({"bootstrap.servers": BROKERS})
    for at, value in values:
        ms = int(at.timestamp() * 1000)
        producer.produce(f"{RUN}-events", json.dumps(value).encode(), partition=0, timestamp=ms)
    assert producer.flush(30) == 0


def event(number, at):
    ms = int(at.timestamp() * 1000)
    return at, {"event_id": f"e{number}", "event_type": "click", "session_id": "s", "timestamp": ms}


def configure():
    with open(CONFIG, "w", encoding="utf-8") as file:
        file.write(f"""
[service]
http_listen = "127.0.0.1:0"
state_dir = "{WORK}/state"
[kafka]
bootstrap_servers = ["{BROKERS}"]
[clickhouse]
url = "{CLICKHOUSE}"
database = "{RUN}"
[[pipeline]]
name = "clickstream"
kind = "enrichment"
topics = ["{RUN}-events"]
group_id = "{RUN}"
watermark_delay = "10s"
[pipeline.columns]
event_id = {{ required = true }}
[pipeline.batch]
flush_interval = "200ms"
[pipeline.clickhouse]
table = "clickstream_events"
ddl = "{PROJECT}/sql/clickstream_events.sql"
[pipeline.dead_letter]
topic = "{RUN}-dead-letters"
ratio_max = 1.0
""")
    admin = AdminClient({"bootstrap.servers": BROKERS})
    admin.create_topics([NewTopic(f"{RUN}-events", 1, 1, config={"retention.ms": "-1"})])[f"{RUN}-events"].result()
    streamweir("schema", "apply")


def run_of(dag, hour):
    """The states of the tasks of the run whose interval begins then."""
    for task in dag.tasks:
        task.retries = 0
    run = dag.test(logical_date=hour + timedelta(hours=1))
    assert (run.data_interval_start, run.data_interval_end) == (hour, hour + timedelta(hours=1))
    with create_session() as session:
        found = session.query(TaskInstance).filter(TaskInstance.run_id == run.run_id)
        found = found.filter(TaskInstance.dag_id == run.dag_id)
        return {task.task_id: str(task.state) for task in found}


def main():
    configure()
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)
    import orders_batch
    import orders_hourly

    # The batch takes what is before the end of its hour.
    hour = HOUR
    produce([event(n, hour + timedelta(minutes=n)) for n in range(90)])
    states = run_of(orders_batch.dag, hour)
    assert states == {"run_until_the_end_of_the_hour": "success"}, states
    assert rows() == 60, rows()

    # The sensor is deferred until the watermark has passed the hour.
    daemon = subprocess.Popen([STREAMWEIR, "run", "--config", CONFIG], stderr=subprocess.DEVNULL)
    try:
        hour += timedelta(hours=1)
        later = threading.Timer(15, lambda: produce([event(200, hour + timedelta(minutes=61))]))
        later.start()
        began = time.monotonic()
        states = run_of(orders_hourly.dag, hour)
        later.join()
        assert time.monotonic() - began >= 10, "it waited"
        assert states["hour_is_complete"] == "success", states
        assert states["replay_dead_letters"] == "skipped", states
        assert states["publish"] == "success", states

        # A dead letter of the hour takes the other branch. The record is refused again: that task fails.
        hour += timedelta(hours=1)
        produce([(hour + timedelta(minutes=2), {"event_id": "x", "timestamp": "never"})])
        produce([event(300, hour + timedelta(minutes=61))])
        states = run_of(orders_hourly.dag, hour)
        assert states["look_for_dead_letters"] == "success", states
        assert states["replay_dead_letters"] == "failed", states
    finally:
        daemon.terminate()
        daemon.wait(60)
    print("the DAGs did what they say")


main()

"""A deferrable sensor that waits until a streamweir pipeline is complete up to a time.

It runs `streamweir wait --timeout 0 --json`, which any machine can run that reaches Kafka with the
configuration file. Exit codes: 0 reached, 1 not yet, 3 Kafka did not answer (asked again), 4 halted and
2 usage (both fail the task, without a retry).
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from datetime import timedelta

from airflow.triggers.base import BaseTrigger, TriggerEvent

try:  # Airflow 3
    from airflow.sdk import BaseSensorOperator
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # Airflow 2
    from airflow.exceptions import AirflowFailException
    from airflow.sensors.base import BaseSensorOperator

REACHED, NOT_YET, USAGE, UNREACHABLE, HALTED = 0, 1, 2, 3, 4


def wait_command(streamweir, config, pipeline, name, watermark, urls):
    """The command line that asks once."""
    whose = ["--pipeline", pipeline] if pipeline else ["--name", name]
    command = [streamweir, "wait", *whose, "--watermark", watermark, "--timeout", "0", "--json"]
    for url in urls:
        command += ["--url", url]
    return [*command, "--config", config]


def verdict(code, out, err):
    """What one answer means: the document, none as long as it is not reached, or an exception."""
    if code == REACHED:
        return json.loads(out)
    if code == HALTED:
        halted = json.loads(out)["halted"]
        raise AirflowFailException(
            f"pipeline {halted['pipeline']} has halted ({halted['reason']}): {halted['advice']}"
        )
    if code == USAGE:
        raise AirflowFailException(err.strip())
    return None


class StreamweirTrigger(BaseTrigger):
    """Asks every `poll_interval` seconds."""

    def __init__(self, command, poll_interval=10.0):
        super().__init__()
        self.command = list(command)
        self.poll_interval = poll_interval

    def serialize(self):
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"command": self.command, "poll_interval": self.poll_interval}

    async def run(self):
        while True:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
            if process.returncode in (REACHED, USAGE, HALTED):
                answer = {"code": process.returncode, "out": out.decode(), "err": err.decode()}
                yield TriggerEvent(answer)
                return
            await asyncio.sleep(self.poll_interval)


class StreamweirCompleteSensor(BaseSensorOperator):
    """Waits until `pipeline`, or the named watermark `name`, is complete before `watermark`.

    Returns the document of `streamweir wait --json`.
    """

    template_fields = ("pipeline", "name", "watermark", "config")

    def __init__(
        self,
        *,
        config,
        pipeline=None,
        name=None,
        watermark="{{ data_interval_end.isoformat() }}",
        streamweir="streamweir",
        urls=(),
        deferrable=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.config = config
        self.pipeline = pipeline
        self.name = name
        self.watermark = watermark
        self.streamweir = streamweir
        self.urls = list(urls)
        self.deferrable = deferrable

    def command(self):
        return wait_command(
            self.streamweir, self.config, self.pipeline, self.name, self.watermark, self.urls
        )

    def ask(self):
        asked = subprocess.run(self.command(), capture_output=True, text=True, check=False)
        return verdict(asked.returncode, asked.stdout, asked.stderr)

    def poke(self, context):
        return self.ask() is not None

    def execute(self, context):
        if not self.deferrable:
            return super().execute(context)
        document = self.ask()
        if document is not None:
            return document
        self.defer(
            trigger=StreamweirTrigger(self.command(), float(self.poke_interval)),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context, event=None):
        return verdict(event["code"], event["out"], event["err"])

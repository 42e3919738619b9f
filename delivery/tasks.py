from celery import shared_task

from catbird_mls.xrpc.readings import keep_readings
from delivery import fanout, retention
from delivery import push as pushing
from delivery.gauges import recompute_gauges


@shared_task(name="delivery.tasks.fan_out")
def fan_out() -> None:
    fanout.fan_out()


@shared_task(name="delivery.tasks.sweep")
def sweep() -> None:
    fanout.fan_out(by="sweep")


@shared_task(name="delivery.tasks.purge")
def purge() -> None:
    retention.drop_ended_mailboxes()


@shared_task(name="delivery.tasks.push")
def push() -> None:
    pushing.push_due()


@shared_task(name="delivery.tasks.measure")
def measure() -> None:
    keep_readings(recompute_gauges(), of="delivery")

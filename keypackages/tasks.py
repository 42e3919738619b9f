from celery import shared_task

from catbird_mls.xrpc.readings import keep_readings
from keypackages import services
from keypackages.gauges import recompute_gauges


@shared_task(name="keypackages.tasks.expire")
def expire() -> None:
    services.expire_welcomes()
    services.drop_expired_packages()


@shared_task(name="keypackages.tasks.purge")
def purge() -> None:
    services.purge_spent_packages()
    services.purge_welcome_bodies()
    services.fold_daily_counts()


@shared_task(name="keypackages.tasks.measure")
def measure() -> None:
    keep_readings(recompute_gauges())

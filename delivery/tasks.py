from celery import shared_task

from delivery import fanout


@shared_task(name="delivery.tasks.fan_out")
def fan_out(convo_id: str) -> None:
    fanout.fan_out(convo_id)


@shared_task(name="delivery.tasks.sweep")
def sweep() -> None:
    fanout.sweep()

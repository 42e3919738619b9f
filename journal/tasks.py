from celery import shared_task

from journal import services


@shared_task(name="journal.tasks.purge")
def purge() -> None:
    services.purge()

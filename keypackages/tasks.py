from celery import shared_task

from keypackages import services


@shared_task(name="keypackages.tasks.expire")
def expire() -> None:
    services.expire_welcomes()
    services.drop_expired_packages()


@shared_task(name="keypackages.tasks.purge")
def purge() -> None:
    services.purge_spent_packages()
    services.purge_welcome_bodies()

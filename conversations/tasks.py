from celery import shared_task

from conversations.services import asking, mending


@shared_task(name="conversations.tasks.ring_for_waiting")
def ring_for_waiting() -> None:
    mending.ring_for_waiting()


@shared_task(name="conversations.tasks.notice_low_stock")
def notice_low_stock() -> None:
    mending.notice_low_stock()


@shared_task(name="conversations.tasks.expire_requests")
def expire_requests() -> None:
    asking.drop_old_requests()

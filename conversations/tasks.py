from celery import shared_task

from conversations import doors
from conversations.nudges import regenerate_group_infos
from conversations.services import asking, mending, retention

__all__ = [
    "ask_for_group_infos",
    "expire_requests",
    "note_epochs",
    "notice_low_stock",
    "purge",
    "regenerate_group_infos",
    "ring_for_waiting",
]


@shared_task(name="conversations.tasks.ask_for_group_infos")
def ask_for_group_infos() -> None:
    doors.ask_for_group_infos()


@shared_task(name="conversations.tasks.ring_for_waiting")
def ring_for_waiting() -> None:
    mending.ring_for_waiting()


@shared_task(name="conversations.tasks.note_epochs")
def note_epochs() -> None:
    mending.note_epochs()


@shared_task(name="conversations.tasks.notice_low_stock")
def notice_low_stock() -> None:
    mending.notice_low_stock()


@shared_task(name="conversations.tasks.expire_requests")
def expire_requests() -> None:
    asking.drop_old_requests()


@shared_task(name="conversations.tasks.purge")
def purge() -> None:
    retention.drop_old_entries()
    retention.drop_old_records()

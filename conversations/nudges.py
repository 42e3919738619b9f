"""Work that a service leaves to a worker, named after what it does."""

from celery import shared_task

from conversations import doors
from delivery.services import nudge_later


@shared_task(name="conversations.tasks.regenerate_group_info")
def regenerate_group_info(convo_id: str) -> None:
    doors.regenerate(convo_id)


def prepare_door(convo_id: str) -> None:
    """Have a worker prepare the way in, once the transaction has ended well."""
    nudge_later(f"door {convo_id}", lambda _: regenerate_group_info.delay(convo_id))

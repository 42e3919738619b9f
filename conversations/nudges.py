"""Work that a service leaves to a worker, named after what it does."""

from celery import shared_task

from conversations import doors


@shared_task(name="conversations.tasks.regenerate_group_info")
def regenerate_group_info(convo_id: str) -> None:
    doors.regenerate(convo_id)

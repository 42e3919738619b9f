"""Work that a service leaves to a worker, named after what it does."""

from celery import shared_task

from conversations import doors
from delivery.services import nudge_later

DOORS = "doors"
# Until it is prepared, a door is read from the database, and of several epochs in a second only the last is looked at.
DOORS_SPACING_SECONDS = 1.0


@shared_task(name="conversations.tasks.regenerate_group_infos")
def regenerate_group_infos() -> None:
    doors.regenerate()


def prepare_doors() -> None:
    """Have a worker prepare the ways in that have changed, once the transaction has ended well."""
    nudge_later(DOORS, _begin, spacing=DOORS_SPACING_SECONDS)


def _begin(_: str) -> None:
    regenerate_group_infos.delay()

from datetime import datetime

from django.utils import timezone

from keypackages.models import OptIn


def opt(*, did: str, into: bool) -> datetime:
    """From now on the account may, or may not, be invited; saying it again keeps the first moment."""
    choice, made = OptIn.objects.get_or_create(did=did, defaults={"opted_in": into, "changed_at": timezone.now()})
    if not made and choice.opted_in != into:
        choice.opted_in, choice.changed_at = into, timezone.now()
        choice.save(update_fields=["opted_in", "changed_at"])
    return choice.changed_at

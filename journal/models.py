from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class Refusal(models.Model):
    """Something of MLS that was refused: who sent what, when, and which rule it broke; never the bytes.

    ``code`` is the stable code of the rule where there is one, else the name the caller was told. ``epoch`` is
    the one the convo stood at. A key package belongs to no convo. ``sha256`` tells whether two people speak of the
    same bytes.
    """

    convo_id = models.TextField(blank=True)
    did = models.TextField()
    device_id = models.TextField(blank=True)
    nsid = models.TextField()
    thing = models.TextField()
    code = models.TextField()
    message = models.TextField()
    epoch = models.PositiveBigIntegerField(null=True)
    size = models.PositiveIntegerField(default=0)
    sha256 = models.TextField(blank=True)
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes: ClassVar = [models.Index(fields=["convo_id", "did", "made_at"], name="refusals_of_an_account")]

    def __str__(self) -> str:
        return f"{self.thing} of {self.did}: {self.code}"

"""Counters of packages: an account's by the day, written with what they count, and the service's own."""

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from django.db import connection, transaction

from catbird_mls.xrpc.meters import count_key_packages

Event = Literal["published", "spent", "expired"]

COUNT = """
INSERT INTO keypackages_dailycount (did, cipher_suite, day, published, spent, expired)
VALUES (%(did)s, %(suite)s, CURRENT_DATE, %(published)s, %(spent)s, %(expired)s)
ON CONFLICT (did, cipher_suite, day) DO UPDATE
   SET published = keypackages_dailycount.published + EXCLUDED.published,
       spent = keypackages_dailycount.spent + EXCLUDED.spent,
       expired = keypackages_dailycount.expired + EXCLUDED.expired
"""


def count(event: Event, packages: Iterable[tuple[str, str]]) -> None:
    """Count what happened to packages, each given as account and suite, in the transaction in which it happens.

    Rows are taken in one order, so that two transactions never wait for each other.
    """
    assert transaction.get_connection().in_atomic_block
    counted = Counter(packages)
    count_key_packages(event, counted.total())
    with connection.cursor() as cursor:
        for (did, suite), number in sorted(counted.items()):
            numbers = {"published": 0, "spent": 0, "expired": 0, event: number}
            cursor.execute(COUNT, {"did": did, "suite": suite, **numbers})

"""Counters of packages: an account's by the day, written with what they count, and the service's own."""

from collections import Counter
from collections.abc import Iterable
from typing import Literal, get_args

from django.db import connection, transaction

from catbird_mls.trips import write
from catbird_mls.xrpc.meters import count_key_packages

Event = Literal["published", "spent", "expired"]
EVENTS = get_args(Event)
FOLD_MAX = 500

# A row for each event, not one a day that is added to: everybody who adds an account's devices would wait for it.
COUNT = """
INSERT INTO keypackages_dailycount (did, cipher_suite, day, published, spent, expired)
SELECT did, suite, CURRENT_DATE, %s * number, %s * number, %s * number
  FROM unnest(%s::text[], %s::text[], %s::int[]) AS counted (did, suite, number)
"""
# In one statement, so that whoever adds up meanwhile sees the old rows or the new one.
FOLD = """
WITH apart AS (
    SELECT did, cipher_suite, day FROM keypackages_dailycount
     WHERE day < CURRENT_DATE GROUP BY did, cipher_suite, day HAVING count(*) > 1 LIMIT %s
),
folded AS (
    DELETE FROM keypackages_dailycount USING apart
     WHERE (keypackages_dailycount.did, keypackages_dailycount.cipher_suite, keypackages_dailycount.day)
           = (apart.did, apart.cipher_suite, apart.day)
    RETURNING keypackages_dailycount.*
)
INSERT INTO keypackages_dailycount (did, cipher_suite, day, published, spent, expired)
SELECT did, cipher_suite, day, sum(published), sum(spent), sum(expired) FROM folded GROUP BY did, cipher_suite, day
"""


def count(event: Event, packages: Iterable[tuple[str, str]]) -> None:
    """Count what happened to packages, each given as account and suite, in the transaction in which it happens."""
    assert transaction.get_connection().in_atomic_block
    counted = Counter(packages)
    count_key_packages(event, counted.total())
    if not counted:
        return
    dids, suites = zip(*counted, strict=True)
    times = [int(event == one) for one in EVENTS]
    write(COUNT, [*times, list(dids), list(suites), list(counted.values())])


def fold_daily_counts() -> int:
    """One row an account, suite and day, once the day is over; twice at once is harmless."""
    with connection.cursor() as cursor:
        cursor.execute(FOLD, [FOLD_MAX])
        return int(cursor.rowcount)

import os
from typing import Any

from celery import Celery
from celery.signals import task_postrun, worker_process_init
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "catbird_mls.settings")

app = Celery("catbird_mls")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_init.connect
def keep_connections(**_: Any) -> None:
    """After a task its connection goes back into the pool, where one that broke is dropped.

    Celery by itself would close the whole pool, and the next task's connection would cost more than the task.
    """
    task_postrun.connect(lambda **_: close_old_connections(), weak=False)

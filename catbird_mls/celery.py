import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "catbird_mls.settings")

app = Celery("catbird_mls")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

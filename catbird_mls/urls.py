from django.contrib import admin
from django.urls import include, path

from catbird_mls import health
from catbird_mls.identity import did_document
from catbird_mls.metrics import metrics
from catbird_mls.xrpc.views import unknown_method

urlpatterns = [
    path("health", health.health),
    path("health/live", health.live),
    path("health/ready", health.ready),
    path("metrics", metrics),
    path(".well-known/did.json", did_document),
    path("xrpc/_health", health.version),
    path("xrpc/", include("conversations.urls")),
    path("xrpc/", include("keypackages.urls")),
    path("xrpc/<str:nsid>", unknown_method),
    path("admin/", admin.site.urls),
]

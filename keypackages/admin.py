"""Staff look here; bytes, keys and references beyond a few hex digits are not shown."""

from typing import ClassVar

from django.contrib import admin

from catbird_mls.staff import ReadOnlyAdmin
from keypackages.models import Device, KeyPackage, Welcome, WelcomeBody


@admin.register(Device)
class DeviceAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["name", "did", "id", "registered_at", "last_seen_at", "deleted_at"]
    search_fields: ClassVar = ["id", "did", "device_uuid", "name"]
    exclude: ClassVar = ["signature_key"]


@admin.register(KeyPackage)
class KeyPackageAdmin(ReadOnlyAdmin):
    list_display: ClassVar = [
        "__str__",
        "device",
        "cipher_suite",
        "last_resort",
        "expires_at",
        "spent_at",
        "consumed_at",
    ]
    list_filter: ClassVar = ["cipher_suite", "last_resort"]
    list_select_related: ClassVar = ["device"]
    search_fields: ClassVar = ["did", "spent_in_convo"]
    exclude: ClassVar = ["body", "reference"]


@admin.register(Welcome)
class WelcomeAdmin(ReadOnlyAdmin):
    list_display: ClassVar = [
        "convo_id",
        "did",
        "device_id",
        "state",
        "epoch",
        "tries",
        "created_at",
        "first_fetched_at",
    ]
    list_filter: ClassVar = ["state"]
    search_fields: ClassVar = ["convo_id", "did", "device_id"]


@admin.register(WelcomeBody)
class WelcomeBodyAdmin(ReadOnlyAdmin):
    list_display: ClassVar = ["convo_id", "epoch", "created_at"]
    search_fields: ClassVar = ["convo_id"]
    exclude: ClassVar = ["body", "ratchet_tree"]

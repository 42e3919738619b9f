from django.urls import path

from keypackages.xrpc.delete_device import DeleteDevice
from keypackages.xrpc.get_key_package_stats import GetKeyPackageStats
from keypackages.xrpc.get_key_packages import GetKeyPackages
from keypackages.xrpc.list_devices import ListDevices
from keypackages.xrpc.publish_key_package import PublishKeyPackage
from keypackages.xrpc.publish_key_packages import PublishKeyPackages
from keypackages.xrpc.register_device import RegisterDevice

ENDPOINTS = [
    DeleteDevice,
    GetKeyPackageStats,
    GetKeyPackages,
    ListDevices,
    PublishKeyPackage,
    PublishKeyPackages,
    RegisterDevice,
]

urlpatterns = [path(endpoint.nsid, endpoint.as_view()) for endpoint in ENDPOINTS]

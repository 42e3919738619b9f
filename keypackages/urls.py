from django.urls import path

from keypackages.xrpc.get_key_package_history import GetKeyPackageHistory
from keypackages.xrpc.get_key_package_stats import GetKeyPackageStats
from keypackages.xrpc.get_key_package_status import GetKeyPackageStatus
from keypackages.xrpc.get_key_packages import GetKeyPackages
from keypackages.xrpc.get_opt_in_status import GetOptInStatus
from keypackages.xrpc.list_devices import ListDevices
from keypackages.xrpc.opt_in import OptIn
from keypackages.xrpc.opt_out import OptOut
from keypackages.xrpc.publish_key_package import PublishKeyPackage
from keypackages.xrpc.publish_key_packages import PublishKeyPackages
from keypackages.xrpc.sync_key_packages import SyncKeyPackages
from keypackages.xrpc.validate_welcome import ValidateWelcome

ENDPOINTS = [
    ValidateWelcome,
    GetKeyPackageHistory,
    GetKeyPackageStatus,
    SyncKeyPackages,
    GetOptInStatus,
    OptOut,
    OptIn,
    GetKeyPackageStats,
    GetKeyPackages,
    ListDevices,
    PublishKeyPackage,
    PublishKeyPackages,
]

urlpatterns = [path(endpoint.nsid, endpoint.as_view()) for endpoint in ENDPOINTS]

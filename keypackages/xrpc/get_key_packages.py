from typing import Any

from rest_framework import serializers

from catbird_mls.xrpc.auth import Caller
from catbird_mls.xrpc.fields import DidField, base64_text
from catbird_mls.xrpc.views import Query
from keypackages.errors import InvalidDid
from keypackages.services import hand_out_key_packages


class GetKeyPackages(Query):
    nsid = "blue.catbird.mls.getKeyPackages"

    class Input(serializers.Serializer[Any]):
        dids = serializers.ListField(child=DidField(refusal=InvalidDid), min_length=1)
        cipherSuite = serializers.CharField(source="cipher_suite", required=False)

    def handle(self, caller: Caller, **given: Any) -> dict[str, Any]:
        packages = hand_out_key_packages(dids=given["dids"], cipher_suite=given.get("cipher_suite"))
        found = {package.did for package in packages}
        return {
            "keyPackages": [
                {
                    "did": package.did,
                    "keyPackage": base64_text(bytes(package.body)),
                    "keyPackageHash": bytes(package.reference).hex(),
                    "cipherSuite": package.cipher_suite,
                }
                for package in packages
            ],
            "missing": [did for did in dict.fromkeys(given["dids"]) if did not in found],
        }

from django.apps import AppConfig


class CatbirdConfig(AppConfig):
    name = "catbird_mls"

    def ready(self) -> None:
        # Models can be imported from here on, not before.
        from catbird_mls import capacity, checks  # noqa: F401, PLC0415 - registering checks is the imports' only effect
        from conversations.services import mending  # noqa: PLC0415 - needs models
        from keypackages.admin import WelcomeAdmin  # noqa: PLC0415 - needs models

        # The directory's pages offer what only conversations can do.
        WelcomeAdmin.mending = mending

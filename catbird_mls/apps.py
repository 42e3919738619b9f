from django.apps import AppConfig


class CatbirdConfig(AppConfig):
    name = "catbird_mls"

    def ready(self) -> None:
        from catbird_mls import checks  # noqa: F401, PLC0415 - registering the checks is the import's only effect

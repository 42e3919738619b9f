import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.devices import ALICE, CAROL, Phone
from tests.situations import Talk, a_convo


@pytest.fixture
def staff() -> Client:
    """May do everything."""
    client = Client()
    client.force_login(User.objects.create_superuser("staff", password="a long enough one"))
    return client


@pytest.fixture
def viewer() -> Client:
    """May look at everything and change nothing."""
    user = User.objects.create_user("viewer", password="a long enough one", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def talk() -> Talk:
    return a_convo(Phone(ALICE), Phone(CAROL))

"""django-oauth-toolkit with its usual URLs below /o/, on one port of loopback.

    python server.py PORT FOLDER CLIENTS

CLIENTS is JSON: id to secret, grant type, and life of access tokens. Prints `ready`. Tokens are kept
in a database in FOLDER, over restarts too.
"""

import json
import pathlib
import sys

import django
import waitress
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

PORT, FOLDER, CLIENTS = int(sys.argv[1]), pathlib.Path(sys.argv[2]), json.loads(sys.argv[3])
PERSON = ("us er", "pä&ss+")


def life(request):
    return CLIENTS[request.client.client_id]["life"]


settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": FOLDER / "dot.sqlite",
            "OPTIONS": {"timeout": 10, "transaction_mode": "IMMEDIATE"},
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
    OAUTH2_PROVIDER={
        "ACCESS_TOKEN_EXPIRE_SECONDS": life,
        "SCOPES": {name: name for name in ("introspection", "orders.read", "orders.write")},
        "DEFAULT_SCOPES": [],
    },
    # The usual ones take half a second, on purpose; nothing is protected here.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of no use to anybody",
    USE_TZ=True,
)
django.setup()
urlpatterns = [path("o/", include("oauth2_provider.urls", namespace="oauth2_provider"))]


def fill():
    from django.contrib.auth.models import User
    from oauth2_provider.models import Application

    call_command("migrate", verbosity=0)
    name, password = PERSON
    if not User.objects.filter(username=name).exists():
        User.objects.create_user(name, password=password)
    for client_id, client in CLIENTS.items():
        if not Application.objects.filter(client_id=client_id).exists():
            Application.objects.create(
                client_id=client_id,
                client_secret=client["secret"],
                client_type=Application.CLIENT_CONFIDENTIAL,
                authorization_grant_type=client["grant"],
                name=client_id,
            )


fill()
print("ready", flush=True)
waitress.serve(get_wsgi_application(), host="127.0.0.1", port=PORT, threads=8)

"""The smallest Django project around the package; it runs in the peer's own virtual environment."""

import os

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application

settings.configure(
    SECRET_KEY=os.urandom(16).hex(),
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="djpaystack.webhooks.urls",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "djpaystack"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": "127.0.0.1",
            "PORT": os.environ["PEER_PORT"],
            "NAME": "peer",
            "USER": os.environ["PEER_USER"],
            "PASSWORD": os.environ["PEER_PASSWORD"],
            "CONN_MAX_AGE": None,
        }
    },
    PAYSTACK={"SECRET_KEY": os.environ["PEER_SECRET"], "ENVIRONMENT": "test"},
    LOGGING_CONFIG=None,
    USE_TZ=True,
)
django.setup()
application = get_wsgi_application()

if __name__ == "__main__":
    from django.core.management import call_command

    call_command("migrate", verbosity=0)

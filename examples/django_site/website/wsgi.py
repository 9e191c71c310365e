"""What cserve loads: website.wsgi:application.

Static files go through Django here, so that the example needs no second server; behind nginx, let nginx serve them."""
import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'website.settings')
application = StaticFilesHandler(get_wsgi_application())

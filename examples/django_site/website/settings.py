"""Settings of a site that runs with Django 3.2 and newer. SITE_DATA names the folder of its database and uploads."""
import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(os.environ.get('SITE_DATA', BASE_DIR / 'data'))
DATA_DIR.mkdir(parents=True, exist_ok=True)

# A site of your own reads its key from the environment, and nowhere else.
SECRET_KEY = os.environ.get('SITE_SECRET_KEY', 'known to everyone, for this example alone')
DEBUG = os.environ.get('SITE_DEBUG') == '1'
ALLOWED_HOSTS = os.environ.get('SITE_HOSTS', 'localhost,127.0.0.1,[::1]').split(',')

INSTALLED_APPS = [
    'library',
    'django.contrib.admin',
    'django.contrib.auth',
    'django.contrib.contenttypes',
    'django.contrib.sessions',
    'django.contrib.messages',
    'django.contrib.staticfiles',
]
MIDDLEWARE = [
    'django.middleware.security.SecurityMiddleware',
    'django.contrib.sessions.middleware.SessionMiddleware',
    'django.middleware.common.CommonMiddleware',
    'django.middleware.csrf.CsrfViewMiddleware',
    'django.contrib.auth.middleware.AuthenticationMiddleware',
    'django.contrib.messages.middleware.MessageMiddleware',
]
TEMPLATES = [{
    'BACKEND': 'django.template.backends.django.DjangoTemplates',
    'APP_DIRS': True,
    'OPTIONS': {'context_processors': [
        'django.template.context_processors.request',
        'django.contrib.auth.context_processors.auth',
        'django.contrib.messages.context_processors.messages',
    ]},
}]
ROOT_URLCONF = 'website.urls'
WSGI_APPLICATION = 'website.wsgi.application'

# Several workers write to one SQLite file: they wait for each other.
DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': str(DATA_DIR / 'site.sqlite3'), 'OPTIONS': {'timeout': 20}}}
DEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'
LANGUAGE_CODE = 'en'
TIME_ZONE = 'UTC'
USE_TZ = True
STATIC_URL = '/static/'
MEDIA_ROOT = str(DATA_DIR / 'media')

from django.urls import path

from . import views

urlpatterns = [
    path('', views.index, name='index'),
    path('add', views.add, name='add'),
    path('documents/<int:number>', views.download, name='download'),
    path('documents.json', views.listing, name='listing'),
]

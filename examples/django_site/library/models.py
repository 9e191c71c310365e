from django.db import models


class Document(models.Model):
    title = models.CharField(max_length=200)
    file = models.FileField(upload_to='documents/')
    sha256 = models.CharField(max_length=64, editable=False)
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ['-added', '-id']

    def __str__(self):
        return self.title

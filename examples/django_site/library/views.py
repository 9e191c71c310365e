import hashlib

from django.http import FileResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render

from .forms import DocumentForm
from .models import Document


def index(request):
    return render(request, 'library/index.html', {'documents': Document.objects.all()[:50], 'count': Document.objects.count()})


def add(request):
    form = DocumentForm(request.POST or None, request.FILES or None)
    if request.method == 'POST' and form.is_valid():
        document = form.save(commit=False)
        checksum = hashlib.sha256()
        for piece in request.FILES['file'].chunks():
            checksum.update(piece)
        document.sha256 = checksum.hexdigest()
        document.save()
        return redirect('index')
    return render(request, 'library/add.html', {'form': form}, status=400 if form.is_bound else 200)


def download(request, number):
    document = get_object_or_404(Document, pk=number)
    return FileResponse(document.file.open('rb'), as_attachment=True)


def listing(request):
    return JsonResponse({'documents': list(Document.objects.values('id', 'title', 'sha256'))})

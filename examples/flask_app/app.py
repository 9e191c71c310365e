"""A small Flask application: a form, JSON, an upload that is never held in memory, and an answer that arrives piece by piece."""
import hashlib
import time

from flask import Flask, Response, jsonify, render_template, request

app = Flask(__name__)


@app.route('/')
def index():
    return render_template('index.html', name=request.args.get('name', ''))


@app.route('/api/echo', methods=['POST'])
def echo():
    return jsonify(you_sent=request.get_json())


@app.route('/upload', methods=['POST'])
def upload():
    """The body as it is (curl --data-binary @file), or the file of a form."""
    stream = request.files['file'].stream if 'file' in request.files else request.stream
    checksum, size = hashlib.sha256(), 0
    for piece in iter(lambda: stream.read(64 * 1024), b''):
        checksum.update(piece)
        size += len(piece)
    return jsonify(bytes=size, sha256=checksum.hexdigest())


@app.route('/stream')
def stream():
    """Each line reaches the client when it is made, not when all are there."""
    count = min(request.args.get('lines', 5, type=int), 100)

    def lines():
        for number in range(1, count + 1):
            yield f'line {number} of {count}\n'
            if number < count:
                time.sleep(0.2)

    return Response(lines(), mimetype='text/plain')

/* The body, by the kind of object that the application returned: a list or tuple without an iterator and with its
 * length known, our own file wrapper by sendfile(2), everything else one piece at a time, each on its way to the client
 * before the next is asked for.
 *
 * The GIL is let go where a piece is so large that others gain by it. Must never ask for a piece after the client has
 * gone. */
#include "reply.h"

#include "call.h"
#include "file_wrapper.h"
#include "gateway.h"
#include "kept.h"

#define KEEP_BYTES         (32 * 1024)  /* pieces from here on may be kept by reference (http/conn_serving.c) */
#define LET_GO_BYTES       (64 * 1024)  /* sending takes longer than a hand-over of the GIL; with one thread, */
#define LET_GO_ALONE_BYTES (256 * 1024) /* only background threads can gain */
#define GATHER_BYTES       (16 * 1024)  /* pieces of a list are joined up to this size */

static PyObject *close_name;

int reply_init(void) {
    close_name = PyUnicode_InternFromString("close");
    return close_name ? 0 : -1;
}

static bool lets_go(size_t size) {
    return size >= LET_GO_BYTES && (size >= LET_GO_ALONE_BYTES || gateway_is_threaded());
}

static enum reply_result send_large(struct call *c, struct exchange *x, PyObject *bytes) {
    struct app_thread *t = app_thread_self();
    size_t size = (size_t)PyBytes_GET_SIZE(bytes);
    void *owner = kept_new(bytes);
    bool away = t && lets_go(size);
    c->is_sending = true;
    if (away) gil_let_go(t);
    enum response_result result = response_body(x, PyBytes_AS_STRING(bytes), size, owner);
    if (away) gil_take(t);
    c->is_sending = false;
    if (result != RESPONSE_KEPT) kept_free(owner);
    return result == RESPONSE_GONE ? REPLY_GONE : REPLY_DONE;
}

static enum reply_result send_small(struct call *c, struct exchange *x, struct slice piece) {
    c->is_sending = true;
    enum response_result result = response_body(x, piece.data, piece.len, NULL);
    c->is_sending = false;
    return result == RESPONSE_GONE ? REPLY_GONE : REPLY_DONE;
}

static struct slice slice_of_bytes(PyObject *bytes) {
    return slice_make(PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
}

enum reply_result reply_send_piece(struct call *c, PyObject *bytes) {
    struct exchange *x = c->exchange;
    if (PyBytes_GET_SIZE(bytes) >= KEEP_BYTES) return send_large(c, x, bytes);
    return send_small(c, x, slice_of_bytes(bytes));
}

static enum reply_result send_piece(struct app_thread *t, PyObject *bytes) {
    enum reply_result result;
    PY_LOCK(t->call);
    result = reply_send_piece(t->call, bytes);
    PY_UNLOCK();
    return result;
}

static void finish(struct app_thread *t) {
    PY_LOCK(t->call);
    t->call->is_sending = true;
    response_finish(t->exchange);
    t->call->is_sending = false;
    PY_UNLOCK();
}

static bool check_started(const struct call *c) {
    if (LIKELY(c->is_started)) return true;
    PyErr_SetString(PyExc_AssertionError, "the application produced a body without having called start_response()");
    return false;
}

static bool check_bytes(PyObject *piece) {
    if (LIKELY(PyBytes_Check(piece))) return true;
    PyErr_Format(PyExc_TypeError, "a WSGI application must yield bytes, not %.100s", Py_TYPE(piece)->tp_name);
    return false;
}

/* What is about to be sent is the whole body, unless write() has sent something. */
static void set_length(struct app_thread *t, uint64_t length) {
    PY_LOCK(t->call);
    if (t->exchange->response.body_bytes == 0) response_set_length(t->exchange, length);
    PY_UNLOCK();
}

/* ---- lists and tuples ---- */

static enum reply_result flush_gathered(struct app_thread *t) {
    if (t->gathered.len == 0) return REPLY_DONE;
    enum reply_result result;
    PY_LOCK(t->call);
    result = send_small(t->call, t->exchange, buf_slice(&t->gathered));
    PY_UNLOCK();
    buf_reset(&t->gathered);
    return result;
}

/* Small pieces are joined: they are all there, and a send(2) costs more than a copy. */
static enum reply_result add_piece(struct app_thread *t, PyObject *piece) {
    size_t size = (size_t)PyBytes_GET_SIZE(piece);
    if (t->gathered.len + size > GATHER_BYTES) {
        enum reply_result result = flush_gathered(t);
        if (result != REPLY_DONE) return result;
    }
    if (size > GATHER_BYTES) return send_piece(t, piece);
    buf_append_slice(&t->gathered, slice_of_bytes(piece));
    return REPLY_DONE;
}

/* `pieces` is a tuple of bytes: nobody can change it while the GIL is away. */
static enum reply_result send_pieces(struct app_thread *t, PyObject *pieces) {
    enum reply_result result = REPLY_DONE;
    buf_reset(&t->gathered);
    for (Py_ssize_t i = 0; result == REPLY_DONE && i < PyTuple_GET_SIZE(pieces); i++)
        result = add_piece(t, PyTuple_GET_ITEM(pieces, i));
    return result == REPLY_DONE ? flush_gathered(t) : result;
}

static enum reply_result send_sequence(struct app_thread *t, PyObject *sequence) {
    PyObject *pieces = PySequence_Tuple(sequence);
    if (!pieces) return REPLY_RAISED;
    uint64_t total = 0;
    enum reply_result result = REPLY_DONE;
    for (Py_ssize_t i = 0; result == REPLY_DONE && i < PyTuple_GET_SIZE(pieces); i++) {
        if (check_bytes(PyTuple_GET_ITEM(pieces, i))) total += (uint64_t)PyBytes_GET_SIZE(PyTuple_GET_ITEM(pieces, i));
        else result = REPLY_RAISED;
    }
    if (result == REPLY_DONE) {
        set_length(t, total);
        result = send_pieces(t, pieces);
    }
    Py_DECREF(pieces);
    return result;
}

static enum reply_result send_single(struct app_thread *t, PyObject *piece) {
    if (!check_bytes(piece)) return REPLY_RAISED;
    set_length(t, (uint64_t)PyBytes_GET_SIZE(piece));
    return send_piece(t, piece);
}

/* The usual answer: one piece. Consumes the reference, which is NULL with an exception. */
static enum reply_result send_only(struct app_thread *t, PyObject *piece) {
    enum reply_result result = piece ? send_single(t, piece) : REPLY_RAISED;
    Py_XDECREF(piece);
    return result;
}

/* ---- everything else ---- */

/* PEP 3333, "Handling the Content-Length Header": the only piece is the whole body. */
static void set_length_of_only(struct app_thread *t, PyObject *iterable, PyObject *piece) {
    if (t->exchange->response.has_length) return;
    PySequenceMethods *methods = Py_TYPE(iterable)->tp_as_sequence;
    if (!methods || !methods->sq_length) return;
    if (PyObject_Size(iterable) == 1) set_length(t, (uint64_t)PyBytes_GET_SIZE(piece));
    PyErr_Clear();
}

static enum reply_result send_next(struct app_thread *t, PyObject *iterable, PyObject *piece, bool is_first) {
    if (!check_bytes(piece)) return REPLY_RAISED;
    if (PyBytes_GET_SIZE(piece) == 0) return REPLY_DONE;
    if (!check_started(t->call)) return REPLY_RAISED;
    if (is_first) set_length_of_only(t, iterable, piece);
    return send_piece(t, piece);
}

static enum reply_result send_iterable(struct app_thread *t, PyObject *iterable) {
    PyObject *iterator = PyObject_GetIter(iterable), *piece;
    if (!iterator) return REPLY_RAISED;
    enum reply_result result = REPLY_DONE;
    bool is_first = true;
    while (result == REPLY_DONE && (piece = Py_TYPE(iterator)->tp_iternext(iterator))) {
        result = send_next(t, iterable, piece, is_first);
        is_first = false;
        Py_DECREF(piece);
    }
    Py_DECREF(iterator);
    if (result != REPLY_DONE || !PyErr_Occurred()) return result;
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) return REPLY_RAISED;
    PyErr_Clear();
    return REPLY_DONE;
}

static enum reply_result send_body(struct app_thread *t, PyObject *result) {
    if (PyList_CheckExact(result) && PyList_GET_SIZE(result) == 1) return send_only(t, py_list_item(result, 0));
    if (PyTuple_CheckExact(result) && PyTuple_GET_SIZE(result) == 1)
        return send_only(t, Py_NewRef(PyTuple_GET_ITEM(result, 0)));
    if (PyList_CheckExact(result) || PyTuple_CheckExact(result)) return send_sequence(t, result);
    enum reply_result sent = REPLY_DONE;
    if (file_wrapper_send(t, result, &sent)) return sent;
    return send_iterable(t, result);
}

enum reply_result reply_send(struct app_thread *t, PyObject *result) {
    bool is_sequence = PyList_CheckExact(result) || PyTuple_CheckExact(result);
    if (is_sequence && !check_started(t->call)) return REPLY_RAISED;
    if (UNLIKELY(PyUnicode_Check(result) || PyBytes_Check(result) || result == Py_None)) {
        PyErr_Format(PyExc_TypeError, "a WSGI application must return an iterable of bytes, not %.100s",
                     Py_TYPE(result)->tp_name);
        return REPLY_RAISED;
    }
    enum reply_result sent = send_body(t, result);
    if (sent != REPLY_DONE) return sent;
    if (!check_started(t->call)) return REPLY_RAISED;
    finish(t);
    return REPLY_DONE;
}

int reply_close(PyObject *result) {
    PyObject *close;
    if (PyList_CheckExact(result) || PyTuple_CheckExact(result) || PyBytes_CheckExact(result)) return 0;
    int found = py_find_attribute(result, close_name, &close);
    if (found <= 0) return found;
    PyObject *nothing = PyObject_CallNoArgs(close);
    Py_DECREF(close);
    Py_XDECREF(nothing);
    return nothing ? 0 : -1;
}

#include "python/native/watcher.h"

#include <poll.h>
#include <sys/stat.h>

#include <cerrno>
#include <new>

#include "python/native/call_arguments.h"
#include "python/native/handle.h"
#include "python/native/names.h"
#include "python/native/socket_wait.h"

namespace ringlet::python {
namespace {

void cancel(PyObject* handle) noexcept {
    if (is_handle(handle)) {
        cancel_handle(as_handle(handle));
    } else if (!owned(PyObject_CallMethod(handle, "cancel", nullptr))) {
        PyErr_WriteUnraisable(handle);
    }
    Py_DECREF(handle);
}

}  // namespace

watcher::poll::poll(watcher& w, side s) noexcept
    : operation([](operation& op, const completion& what) noexcept {
          auto& self = static_cast<poll&>(op);
          if (self.owner == nullptr) {
              delete &self;
          } else {
              self.owner->ready(self.which, what.result);
          }
      }),
      owner(&w),
      which(s) {}

watcher::end_of_turn::end_of_turn(watcher& w) noexcept
    : work([](work& item) noexcept { static_cast<end_of_turn&>(item).owner.settle(); }),
      owner(w) {}

watcher::watcher(loop_object* loop, int fd) noexcept : loop_(loop), fd_(fd), end_of_turn_(*this) {}

watcher::~watcher() {
    for (half& each : sides_) {
        detach(each);
    }
}

void watcher::detach(half& from) noexcept {
    poll* const old = std::exchange(from.armed, nullptr);
    if (old == nullptr) {
        return;
    }
    old->owner = nullptr;
    if (old->active()) {
        loop_->core->cancel(*old);
    } else {
        delete old;
    }
}

// Whether the descriptor is still the file that the polls are for; adopts it when none is.
bool watcher::same_file() noexcept {
    struct stat status;
    if (::fstat(fd_, &status) != 0) {
        raise_errno(errno);
        return false;
    }
    // What epoll refuses, asyncio's users expect to be refused: most files, but not /proc/mounts.
    const bool file = S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) ||
                      S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode);
    if (file && !can_be_polled(fd_)) {
        raise_errno(EPERM);
        return false;
    }
    if (status.st_dev != device_ || status.st_ino != inode_) {
        for (half& each : sides_) {
            detach(each);
        }
        device_ = status.st_dev;
        inode_ = status.st_ino;
    }
    return true;
}

bool watcher::arm(side which) noexcept {
    half& mine = sides_[which];
    if (mine.armed != nullptr && mine.armed->cancelling()) {
        detach(mine);
    }
    if (mine.armed == nullptr) {
        mine.armed = new (std::nothrow) poll(*this, which);
        if (mine.armed == nullptr) {
            PyErr_NoMemory();
            return false;
        }
    }
    if (!mine.armed->active()) {
        mine.armed->prepare_poll(fd_, which == reading ? POLLIN : POLLOUT, false);
        loop_->core->start(*mine.armed);
    }
    return true;
}

bool watcher::add(side which, PyObject* handle) noexcept {
    if (!same_file() || !arm(which)) {
        return false;
    }
    PyObject* const old = std::exchange(sides_[which].handle, handle);
    if (old != nullptr) {
        cancel(old);
    }
    return true;
}

bool watcher::remove(side which) noexcept {
    PyObject* const old = std::exchange(sides_[which].handle, nullptr);
    if (old == nullptr) {
        return false;
    }
    // The caller may close the descriptor next, and bind to its port again.
    if (sides_[which].armed != nullptr && sides_[which].armed->active()) {
        detach(sides_[which]);
        loop_->core->driver().let_go();
    }
    cancel(old);
    return true;
}

void watcher::ready(side which, int result) noexcept {
    half& mine = sides_[which];
    if (mine.handle == nullptr || result == -ECANCELED) {
        return;
    }
    if (result < 0) {
        // The descriptor was closed under the poll: as with epoll, that is the end of it.
        cancel(std::exchange(mine.handle, nullptr));
        return;
    }
    if (!make_ready(loop_, new_reference(mine.handle))) {
        PyErr_WriteUnraisable(as_object(loop_));
        return;
    }
    settle_later();
}

void watcher::settle_later() noexcept {
    if (!end_of_turn_.queued()) {
        loop_->core->post_flush(end_of_turn_);
    }
}

void watcher::settle() noexcept {
    for (const side which : {reading, writing}) {
        half& mine = sides_[which];
        if (mine.handle == nullptr) {
            detach(mine);
        } else if (!arm(which)) {
            PyErr_WriteUnraisable(as_object(loop_));
        }
    }
}

void watcher::forget() noexcept {
    loop_->core->forget(end_of_turn_);
    for (half& each : sides_) {
        if (PyObject* const handle = std::exchange(each.handle, nullptr)) {
            cancel(handle);
        }
        detach(each);
    }
}

bool check_no_transport(loop_object* loop, int fd) noexcept {
    if (loop->transports == nullptr) {
        owned all(PyObject_GetAttrString(as_object(loop), "_transports"));
        loop->transports = all ? PyObject_GetAttrString(all.get(), "data") : nullptr;
        if (loop->transports == nullptr) {
            return false;
        }
    }
    if (PyDict_GET_SIZE(loop->transports) == 0) {
        return true;
    }
    owned number(PyLong_FromLong(fd));
    if (!number) {
        return false;
    }
    if (PyDict_GetItemWithError(loop->transports, number.get()) == nullptr) {
        return !PyErr_Occurred();
    }
    return owned(PyObject_CallMethod(as_object(loop), "_ensure_fd_no_transport", "O",
                                     number.get()))
        .operator bool();
}

// --- the loop's methods ---

namespace {

// The descriptor that an int or an object with fileno() means; -1 with ValueError set, in the
// words of the selectors module.
int descriptor_of(PyObject* object) noexcept {
    long fd = -1;
    if (PyLong_Check(object)) {
        fd = PyLong_AsLong(object);
    } else {
        owned number(PyObject_CallMethodNoArgs(object, names().fileno));
        fd = number ? PyLong_AsLong(number.get()) : -1;
    }
    if (fd == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "Invalid file object: %R", object);
        return -1;
    }
    if (fd < 0 || fd > INT_MAX) {
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %ld", fd);
        return -1;
    }
    return static_cast<int>(fd);
}

watcher* find(loop_object* loop, int fd) noexcept {
    const auto at = static_cast<std::size_t>(fd);
    return at < loop->watchers.size() ? loop->watchers[at].get() : nullptr;
}

PyObject* new_handle(loop_object* loop, const call_arguments& given) noexcept {
    if (loop->debug) {
        owned rest(tuple_of(given.from(2), given.count() - 2));
        return rest ? PyObject_CallFunctionObjArgs(names().handle_class, given[1], rest.get(),
                                                   as_object(loop), nullptr)
                    : nullptr;
    }
    handle_object* const handle =
        make_handle(given[1], given.from(2), given.count() - 2, nullptr);
    if (handle != nullptr) {
        handle->repeats = true;
    }
    return reinterpret_cast<PyObject*>(handle);
}

// Who asks: asyncio's own transports, or the user, who may not watch a transport's descriptor.
enum class asker { transport, user };

PyObject* add(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords,
              watcher::side which, asker who) noexcept {
    loop_object* const loop = as_loop(self);
    if (!check_open(loop)) {
        return nullptr;
    }
    constexpr const char* parameters[] = {"fd", "callback"};
    const char* const function = which == watcher::reading ? "add_reader" : "add_writer";
    call_arguments given;
    if (!given.read(function, parameters, arguments, count, keywords) ||
        !given.refuse_context(function)) {
        return nullptr;
    }
    const int fd = descriptor_of(given[0]);
    if (fd < 0 || (who == asker::user && !check_no_transport(loop, fd))) {
        return nullptr;
    }
    owned handle(new_handle(loop, given));
    if (!handle) {
        return nullptr;
    }
    return guarded([&]() -> PyObject* {
        const auto at = static_cast<std::size_t>(fd);
        if (at >= loop->watchers.size()) {
            loop->watchers.resize(at + 1);
        }
        if (!loop->watchers[at]) {
            loop->watchers[at] = std::make_unique<watcher>(loop, fd);
        }
        // The watcher takes a reference over, and may let go of it before it returns: the end of
        // the handle that is replaced can run any Python code.
        if (!loop->watchers[at]->add(which, new_reference(handle.get()))) {
            Py_DECREF(handle.get());
            return nullptr;
        }
        return who == asker::user ? new_reference(Py_None) : handle.release();
    });
}

// Whether there was one.
bool remove_side(loop_object* loop, int fd, watcher::side which) noexcept {
    watcher* const watched = find(loop, fd);
    return watched != nullptr && watched->remove(which);
}

PyObject* remove(PyObject* self, PyObject* file, watcher::side which, asker who) noexcept {
    loop_object* const loop = as_loop(self);
    if (loop->closed) {
        Py_RETURN_FALSE;
    }
    const int fd = descriptor_of(file);
    if (fd < 0 || (who == asker::user && !check_no_transport(loop, fd))) {
        return nullptr;
    }
    return PyBool_FromLong(remove_side(loop, fd, which));
}

}  // namespace

void end_other_readers(loop_object* loop, int fd) noexcept {
    remove_side(loop, fd, watcher::reading);
}

void end_other_waits(loop_object* loop, int fd) noexcept {
    owned exception = take_exception();
    remove_side(loop, fd, watcher::reading);
    remove_side(loop, fd, watcher::writing);
    cancel_waits(loop, fd);
    if (exception) {
        raise_again(std::move(exception));
    }
}

void close_descriptor(loop_object* loop, int fd) noexcept {
    end_other_waits(loop, fd);
    loop->core->driver().close(fd);
}

PyObject* loop_add_reader(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                          PyObject* keywords) noexcept {
    return add(self, arguments, count, keywords, watcher::reading, asker::user);
}

PyObject* loop_add_reader_unchecked(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                                    PyObject* keywords) noexcept {
    return add(self, arguments, count, keywords, watcher::reading, asker::transport);
}

PyObject* loop_add_writer(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                          PyObject* keywords) noexcept {
    return add(self, arguments, count, keywords, watcher::writing, asker::user);
}

PyObject* loop_add_writer_unchecked(PyObject* self, PyObject* const* arguments, Py_ssize_t count,
                                    PyObject* keywords) noexcept {
    return add(self, arguments, count, keywords, watcher::writing, asker::transport);
}

PyObject* loop_remove_reader(PyObject* self, PyObject* file) noexcept {
    return remove(self, file, watcher::reading, asker::user);
}

PyObject* loop_remove_reader_unchecked(PyObject* self, PyObject* file) noexcept {
    return remove(self, file, watcher::reading, asker::transport);
}

PyObject* loop_remove_writer(PyObject* self, PyObject* file) noexcept {
    return remove(self, file, watcher::writing, asker::user);
}

PyObject* loop_remove_writer_unchecked(PyObject* self, PyObject* file) noexcept {
    return remove(self, file, watcher::writing, asker::transport);
}

// [(fd, reader or None, writer or None), ...]
PyObject* loop_watched(PyObject* self, PyObject*) noexcept {
    loop_object* const loop = as_loop(self);
    owned list(PyList_New(0));
    for (std::size_t fd = 0; list && fd < loop->watchers.size(); ++fd) {
        const watcher* const each = loop->watchers[fd].get();
        // Making a row can run a garbage collection, and so any Python code.
        const owned reader = owned::share(each ? each->handle(watcher::reading) : nullptr);
        const owned writer = owned::share(each ? each->handle(watcher::writing) : nullptr);
        if (!reader && !writer) {
            continue;
        }
        owned row(Py_BuildValue("(nOO)", static_cast<Py_ssize_t>(fd),
                                reader ? reader.get() : Py_None,
                                writer ? writer.get() : Py_None));
        if (!row || PyList_Append(list.get(), row.get()) < 0) {
            return nullptr;
        }
    }
    return list.release();
}

int traverse_watchers(loop_object* loop, visitproc visit, void* arg) noexcept {
    for (const auto& each : loop->watchers) {
        for (const auto which : {watcher::reading, watcher::writing}) {
            PyObject* const handle = each ? each->handle(which) : nullptr;
            if (handle == nullptr) {
                continue;
            }
            if (!is_handle(handle)) {
                Py_VISIT(handle);
            } else if (const int stop = traverse_handle(as_handle(handle), visit, arg)) {
                return stop;
            }
        }
    }
    return 0;
}

void forget_watchers(loop_object* loop) noexcept {
    for (const auto& each : loop->watchers) {
        if (each) {
            each->forget();
        }
    }
}

}  // namespace ringlet::python

#include "python/native/names.h"

namespace ringlet::python {
namespace {

known_names all;

}  // namespace

PyObject* from_module(const char* module, const char* attribute) noexcept {
    owned imported(PyImport_ImportModule(module));
    return imported ? PyObject_GetAttrString(imported.get(), attribute) : nullptr;
}

bool look_up(std::span<const wanted_name> strings,
             std::span<const wanted_object> objects) noexcept {
    for (const wanted_name& string : strings) {
        *string.where = PyUnicode_InternFromString(string.text);
        if (*string.where == nullptr) {
            return false;
        }
    }
    for (const wanted_object& object : objects) {
        *object.where = from_module(object.module, object.attribute);
        if (*object.where == nullptr) {
            return false;
        }
    }
    return true;
}

const known_names& names() noexcept { return all; }

bool set_up_names() noexcept {
    const wanted_name strings[] = {
        {&all.call_exception_handler, "call_exception_handler"},
        {&all.report_handle, "_report_handle"},
        {&all.call_soon_debug, "_call_soon_debug"},
        {&all.call_at_debug, "_call_at_debug"},
        {&all.threadsafe_debug, "_call_soon_threadsafe_debug"},
        {&all.run_foreign, "_run_foreign"},
        {&all.time, "time"},
        {&all.report_slow, "_report_slow"},
        {&all.context, "context"},
        {&all.loop, "loop"},
        {&all.name, "name"},
        {&all.fileno, "fileno"},
        {&all.set_result, "set_result"},
        {&all.future_blocking, "_asyncio_future_blocking"},
    };
    const wanted_object objects[] = {
        {&all.handle_class, "asyncio.events", "Handle"},
        {&all.timer_handle_class, "asyncio.events", "TimerHandle"},
        {&all.future_class, "asyncio.futures", "Future"},
        {&all.task_class, "asyncio.tasks", "Task"},
        {&all.handle_repr, "ringlet._handles", "represent"},
    };
    if (!look_up(strings, objects)) {
        return false;
    }
    owned base(from_module("asyncio.base_events", "BaseEventLoop"));
    all.base_create_task = base ? PyObject_GetAttrString(base.get(), "create_task") : nullptr;
    all.loop_keyword = PyTuple_Pack(1, all.loop);
    return all.base_create_task != nullptr && all.loop_keyword != nullptr;
}

}  // namespace ringlet::python

"""How handles of the native loop print, in asyncio's words."""

from asyncio import format_helpers


def represent(handle):
    info = [handle.__class__.__name__]
    if handle._cancelled:
        info.append('cancelled')
    if hasattr(handle, '_when'):
        info.append(f'when={handle._when}')
    if handle._callback is not None:
        info.append(format_helpers._format_callback_source(handle._callback, handle._args))
    return f"<{' '.join(info)}>"

// delay_server PORT: GET /add?name=N&delay=MS answers after MS milliseconds, as the server of the
// book's chapter on concurrency does. Everything else is a 404. Stops on SIGINT or SIGTERM.

#include "examples/arguments.h"
#include "examples/delay_service.h"

int main(int count, char** arguments) {
    return ringlet::examples::serve_main(
        count, arguments, "delay_server", [](ringlet::loop& loop) {
            return ringlet::examples::make_delay_service(loop);
        });
}

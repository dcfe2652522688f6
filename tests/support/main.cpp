// The main of every suite. `--make-driver` is not for people: the tests run it in a fresh process
// to see which driver that process gets and what it says about it.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>

#include "core/driver.h"
#include "tests/support/support.h"

namespace {

int make_driver_twice() {
    for (int round = 0; round < 2; ++round) {
        try {
            std::printf("%s\n", ringlet::make_driver({})->name());
        } catch (const ringlet::error& failure) {
            std::printf("error: %s\n", failure.what());
        }
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], "--make-driver") == 0) {
        return make_driver_twice();
    }
    doctest::Context context(argc, argv);
    std::fprintf(stderr, "driver %s, seed %llu (RINGLET_DRIVER=uring|epoll|fake, RINGLET_SEED=N)\n",
                 ringlet::test::driver_name().c_str(),
                 static_cast<unsigned long long>(ringlet::test::seed()));
    const int failed = context.run();
    if (failed != 0) {
        std::fprintf(stderr, "to repeat: RINGLET_DRIVER=%s RINGLET_SEED=%llu\n",
                     ringlet::test::driver_name().c_str(),
                     static_cast<unsigned long long>(ringlet::test::seed()));
    }
    return failed;
}

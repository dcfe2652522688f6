// The main of every suite.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/support/make_driver.h"
#include "tests/support/support.h"

int main(int argc, char** argv) {
    if (ringlet::test::made_driver(argc, argv)) {
        return 0;
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

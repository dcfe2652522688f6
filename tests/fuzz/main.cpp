// The side of a fuzz target that libFuzzer sees. A check that fails ends the program.
#define DOCTEST_CONFIG_IMPLEMENT
#include "tests/fuzz/fuzz.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

void failed(const doctest::AssertData& what) {
    std::fprintf(stderr, "%s:%d: %s\n  %s\n", what.m_file, what.m_line, what.m_expr,
                 what.m_decomp.c_str());
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    static doctest::Context context;
    context.setAsDefaultForAssertsOutOfTestCases();
    context.setAssertHandler(failed);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ringlet::fuzz::fuzz({reinterpret_cast<const char*>(data), size});
    return 0;
}

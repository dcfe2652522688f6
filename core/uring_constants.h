// What liburing 2.3's headers lack of the kernel's interface; the values are the kernel's ABI.
// Everything here is probed at run time, never assumed. The only file with such definitions.
#pragma once

namespace ringlet::detail {

constexpr unsigned feature_no_iowait = 1U << 17;  // IORING_FEAT_NO_IOWAIT, Linux 6.15
constexpr unsigned enter_no_iowait = 1U << 7;     // IORING_ENTER_NO_IOWAIT

// What a call answers that a signal has interrupted in the kernel, and that user space never sees
// but here: from ERESTARTSYS to ERESTART_RESTARTBLOCK.
constexpr int restart_first = 512;
constexpr int restart_last = 516;

}  // namespace ringlet::detail

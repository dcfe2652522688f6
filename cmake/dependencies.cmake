# The libraries Ringlet stands on, each found by pkg-config or CMake, static where it can be had
# (a Python wheel must carry them), and a sentence that says what to install where one is missing.
# It is installed beside ringletConfig.cmake: who links the static library needs the same ones. So
# one more library is one more line here, and one in each of the three lists at the end.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(OpenSSL 3.0 REQUIRED COMPONENTS SSL Crypto)  # shared: its fixes come with the system's

# ringlet_find(<target> <pkg-config module> <minimum> <header> <library> <what to install>)
function(ringlet_find target module minimum header library advice)
    if(TARGET ringlet::${target})
        return()
    endif()
    pkg_check_modules(${target}_pc QUIET ${module}>=${minimum})
    find_path(ringlet_${target}_include ${header} HINTS ${${target}_pc_INCLUDE_DIRS})
    find_library(ringlet_${target}_library NAMES lib${library}.a ${library}
                 HINTS ${${target}_pc_LIBRARY_DIRS})
    if(NOT ${target}_pc_FOUND OR NOT ringlet_${target}_include OR NOT ringlet_${target}_library)
        message(FATAL_ERROR
                "Ringlet needs ${module} ${minimum} or newer, and did not find it: ${advice}")
    endif()
    message(STATUS "Found ${module} ${${target}_pc_VERSION}: ${ringlet_${target}_library}")
    add_library(ringlet::${target} UNKNOWN IMPORTED)
    set_target_properties(ringlet::${target} PROPERTIES
        IMPORTED_LOCATION ${ringlet_${target}_library}
        INTERFACE_INCLUDE_DIRECTORIES ${ringlet_${target}_include})
endfunction()

ringlet_find(uring liburing 2.3 liburing.h uring
             "install liburing-dev (Debian 12 and newer have it), or run scripts/setup")

# Boost says nothing to pkg-config.
if(NOT TARGET ringlet::boost_context)
    find_path(ringlet_boost_context_include boost/context/detail/fcontext.hpp)
    find_library(ringlet_boost_context_library NAMES libboost_context.a boost_context)
    if(NOT ringlet_boost_context_include OR NOT ringlet_boost_context_library)
        message(FATAL_ERROR "Ringlet needs Boost.Context, and did not find it: install "
                "libboost-context-dev (Debian 12 and newer have it), or run scripts/setup")
    endif()
    message(STATUS "Found Boost.Context: ${ringlet_boost_context_library}")
    add_library(ringlet::boost_context UNKNOWN IMPORTED)
    set_target_properties(ringlet::boost_context PROPERTIES
        IMPORTED_LOCATION ${ringlet_boost_context_library}
        INTERFACE_INCLUDE_DIRECTORIES ${ringlet_boost_context_include})
endif()

# What whoever links libringlet.a links, too: as targets, in pkg-config's words, as packages.
set(ringlet_link_targets
    Threads::Threads ringlet::uring ringlet::boost_context OpenSSL::SSL ZLIB::ZLIB)
set(ringlet_pkg_config "liburing >= 2.3, openssl >= 3.0, zlib")
set(ringlet_pkg_config_libs "-lboost_context")
set(ringlet_packages
    "liburing-dev (>= 2.3), libboost-context-dev, libssl-dev (>= 3.0), zlib1g-dev, pkg-config")
